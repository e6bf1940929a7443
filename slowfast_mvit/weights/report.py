"""What came of loading weights, and why they are refused, in words."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

_LOG = logging.getLogger(__name__)

_OF_DETECTORS = ("begun anew", "dropped")  # lines of the report that are there for detectors alone
_SHOWN = 3  # names in a line of the report


@dataclass(frozen=True)
class LoadReport:
    """What came of loading weights; all names are the model's, except those of ``unexpected`` and ``dropped``.

    Attributes:
        source: file, URL or what the caller called it.
        format: whose names it had, a key of :data:`slowfast_mvit.weights.formats.FORMATS`, or the model's own.
        loaded: tensors whose values the model now has from the source.
        missing: tensors of the model that the source lacks; they keep the values they had.
        unexpected: tensors of the source that the model lacks.
        other_shape: tensors of both that do not fit, and keep the model's values.
        resized: position tables that were resized.
        squeezed: kernels that gained or lost a time axis of one frame, with all their numbers.
        kept_head: tensors of the head that keep the values they had, because the source has other classes.
        begun_anew: tensors of a detector that keep the values they had, because the source is a classifier's.
        dropped: tensors of that classifier for which a detector has no use.
        inflated: tensors that were given a time axis, and temporal tables set to zero, because the source is an image model's.
        share: of the backbone's parameters that were loaded, by number of elements, 0 to 1.
        note: what was changed in the model besides its tensors; empty where nothing was.
    """

    source: str
    format: str
    loaded: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    other_shape: tuple[str, ...] = ()
    resized: tuple[str, ...] = ()
    squeezed: tuple[str, ...] = ()
    kept_head: tuple[str, ...] = ()
    begun_anew: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    inflated: tuple[str, ...] = ()
    share: float = 0.0
    note: str = ""

    @property
    def is_complete(self) -> bool:
        """Whether every tensor of the model that the source could have has its value: a head of other classes is not its own,
        nor what a detector has beyond a classifier."""
        return not self.missing and not self.other_shape

    @property
    def needs_a_look(self) -> bool:
        """Whether the report should be seen: the model is not what the source's is, or not what its maker asked for."""
        return not self.is_complete or bool(self.note)

    def __str__(self) -> str:
        rows = [
            ("loaded", self.loaded),
            ("resized", self.resized),
            ("inflated", self.inflated),
            ("kept: other classes", self.kept_head),
            ("begun anew", self.begun_anew),
            ("dropped", self.dropped),
            ("missing", self.missing),
            ("other shape", self.other_shape),
            ("unexpected", self.unexpected),
        ]
        lines = [f"weights of {self.source} ({self.format} names), {self.share:.1%} of the backbone's parameters"]
        for title, names in rows:
            if title in _OF_DETECTORS and not names:
                continue
            shown = "" if title == "loaded" else ", ".join(names[:_SHOWN]) + ", ..." * (len(names) > _SHOWN)
            lines.append(f"  {title:<19}{len(names):>5}  {shown}".rstrip())
        return "\n".join([*lines, *([f"  note: {self.note}"] if self.note else [])])


def log_report(report: LoadReport) -> None:
    """Say what came of loading weights, louder where the report should be seen."""
    level = logging.WARNING if report.needs_a_look else logging.INFO
    _LOG.log(level, "%s", report, extra={"alike": True})  # on all ranks, see engine.log


def of_another_model(report: LoadReport, state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    """The sentence for a file most of which does not fit; ``state`` and ``own`` are the source's and the model's tensors."""
    shapes = [f"{n} is {tuple(state[n].shape)}, the model's {tuple(own[n].shape)}" for n in report.other_shape]
    missing = [f"{n} is missing" for n in report.missing]
    examples = (shapes + missing + [f"{n} is not in the model" for n in report.unexpected])[:_SHOWN]
    return (
        f"{report.source} holds the weights of another model: {len(report.missing)} tensors missing, "
        f"{len(report.unexpected)} unexpected, {len(report.other_shape)} of another shape ({'; '.join(examples)}), "
        f"{report.share:.0%} of the backbone's parameters found. Use the model or config it was trained with"
    )


def other_classes(
    report: LoadReport, head: Iterable[str], state: Mapping[str, Tensor], own: Mapping[str, Tensor]
) -> str:
    """The sentence for a file whose head, the two names of ``head``, is for other classes."""
    key = next(key for key in head if key in report.other_shape)
    theirs, ours = len(state[key]), len(own[key])
    return (
        f"{report.source} has a head of {theirs} classes, and the model one of {ours}: "
        f"set num_classes (MODEL.NUM_CLASSES) to {theirs}"
    )


def other_table(report: LoadReport, key: str, state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    """The sentence for a file whose position table ``key`` cannot be resized, although its width is the model's."""
    theirs, ours = tuple(state[key].shape), tuple(own[key].shape)
    if theirs[-1:] != ours[-1:]:
        return of_another_model(report, state, own)
    return (
        f"{report.source} holds the position table {key} as {theirs}, the model as {ours}, and its rows do not tell the grid "
        "they are for: make the model with the clip and crop of these weights, or let the table keep its values with "
        "load_weights(..., min_share=0)"
    )


def other_convolutions(report: LoadReport, key: str, state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    """The sentence for a file whose convolutions do not fit; ``key`` is the first of them."""
    theirs, ours = tuple(state[key].shape), tuple(own[key].shape)
    if len(theirs) == 5 and len(ours) == 4:
        return f"{report.source} holds a video model's weights, which an image model cannot take ({key} is {theirs})"
    if theirs[:1] + theirs[2:] == ours[:1] + ours[2:]:
        return (
            f"{report.source} is for {theirs[1]} input channels, and the model for {ours[1]}: make it with "
            f"in_channels={theirs[1]}, or let its stem start fresh with load_weights(..., min_share=0)"
        )
    return of_another_model(report, state, own)
