"""Anybody's weights into a model, with an honest report."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from slowfast_mvit.errors import UserError
from slowfast_mvit.weights.containers import unwrap
from slowfast_mvit.weights.fetch import discard, fetch, is_url
from slowfast_mvit.weights.files import read_weights
from slowfast_mvit.weights.formats import detect_format, find_format, to_official, without_wrapper
from slowfast_mvit.weights.inflate import inflate
from slowfast_mvit.weights.resize import adapt
from slowfast_mvit.weights.table import PUBLISHED

OWN_NAMES = "the model's own"
_TAGS = frozenset(entry.tag for entry in PUBLISHED)
_SHOWN = 3  # names in a line of the report
_COUNTER = ".num_batches_tracked"  # of batch normalisation: old files lack it, and nothing here depends on it


@dataclass(frozen=True)
class LoadReport:
    """What came of loading weights; all names are the model's, except those of ``unexpected``.

    Attributes:
        source: file, URL or what the caller called it.
        format: whose names it had, a key of :data:`slowfast_mvit.weights.formats.FORMATS`, or the model's own.
        loaded: tensors whose values the model now has from the source.
        missing: tensors of the model that the source lacks; they keep the values they had.
        unexpected: tensors of the source that the model lacks.
        other_shape: tensors of both that do not fit, and keep the model's values.
        resized: position tables that were resized, and kernels that gained or lost a time axis of one frame.
        reinitialised: tensors of the head that keep the model's fresh values, because the source has other classes.
        inflated: tensors that were given a time axis, and temporal tables set to zero, because the source is an image model's.
        share: of the backbone's parameters that were loaded, by number of elements, 0 to 1.
    """

    source: str
    format: str
    loaded: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    other_shape: tuple[str, ...] = ()
    resized: tuple[str, ...] = ()
    reinitialised: tuple[str, ...] = ()
    inflated: tuple[str, ...] = ()
    share: float = 0.0

    @property
    def is_complete(self) -> bool:
        """Whether every tensor of the model has a value from the source, but for a head of other classes."""
        return not self.missing and not self.other_shape

    def __str__(self) -> str:
        rows = [
            ("loaded", self.loaded),
            ("resized", self.resized),
            ("inflated", self.inflated),
            ("re-initialised", self.reinitialised),
            ("missing", self.missing),
            ("other shape", self.other_shape),
            ("unexpected", self.unexpected),
        ]
        lines = [f"weights of {self.source} ({self.format} names), {self.share:.1%} of the backbone's parameters"]
        for title, names in rows:
            shown = "" if title == "loaded" else ", ".join(names[:_SHOWN]) + ", ..." * (len(names) > _SHOWN)
            lines.append(f"  {title:<15}{len(names):>5}  {shown}".rstrip())
        return "\n".join(lines)


def load_weights(
    model: nn.Module,
    source: str | Path | Mapping[str, Any],
    *,
    inflation: str = "centre",
    min_share: float = 0.9,
    new_head: bool = True,
    strict: bool = False,
    name: str = "",
) -> LoadReport:
    """Load weights of any publisher into a model, all or nothing, and say what came of it.

    The format is told by the names of the tensors. Position tables of another length are resized; an image model's weights are
    inflated into a video model; the head keeps its fresh weights where the classes are others.

    Args:
        model: receives the weights. It is left as it was if anything is raised.
        source: a file, a URL (fetched once and kept), or a state dict, bare or in its publisher's container.
        inflation: rule for image weights in a video model, see :func:`slowfast_mvit.weights.inflate.inflate`.
        min_share: the share of the backbone's parameters, by number of elements, that must arrive, 0 to 1.
        new_head: allow a head of other classes.
        strict: demand every tensor of the model and know every tensor of the source, the head included; inflate nothing.
        name: what the report and the errors call the source; the file or URL by default.

    Raises:
        UserError: the source cannot be read, is of no known format, or is another model's.
    """
    if isinstance(source, Mapping):
        content: Mapping[str, Any] = source
        name = name or "the state dict"
    else:
        content = read_source(source)
        name = name or str(source)
    own = model.state_dict()
    state, form = _official(unwrap(content, name), own, name)
    inflated: list[str] = []
    if not strict:
        state, inflated = inflate(state, own, inflation)
    state, resized = adapt(state, own)
    head = _head_names(model)
    fresh = _fresh_head(state, own, head) if new_head and not strict else ()
    known = [key for key in own if key in state and key not in fresh]
    fits = {key for key in known if state[key].shape == own[key].shape}
    report = LoadReport(
        source=name,
        format=form,
        loaded=tuple(key for key in known if key in fits),
        missing=tuple(k for k in own if k not in state and k not in fresh and not k.endswith(_COUNTER)),
        unexpected=tuple(key for key in state if key not in own),
        other_shape=tuple(key for key in known if key not in fits),
        resized=tuple(resized),
        reinitialised=fresh,
        inflated=tuple(inflated),
        share=_share(model, fits, head),
    )
    if report.share < min_share or (strict and (not report.is_complete or report.unexpected)):
        raise UserError(_of_another_model(report, state, own))
    _check_kinds(report, state, own)
    model.load_state_dict({key: state[key] for key in report.loaded}, strict=False)
    return report


def read_source(source: str | Path) -> dict[str, Any]:
    """Content of a weight file, or of the copy of a URL's, which is fetched if it is not there yet.

    A copy that cannot be read is deleted, so that the next use fetches it again.

    Raises:
        UserError: as :func:`find_source` and :func:`slowfast_mvit.weights.files.read_weights`.
    """
    path = find_source(source)
    try:
        return read_weights(path)
    except UserError as error:
        if not is_url(source):
            raise
        discard(path)
        raise UserError(
            f"{error} (what came from {source}; it is deleted, and fetched again at the next use)"
        ) from error


def find_source(source: str | Path) -> Path:
    """The file that a path, or a URL by its copy in the cache, stands for.

    Raises:
        UserError: there is no such file, or it is not to be had from the net.
    """
    if is_url(source):
        return fetch(source)
    if str(source).startswith("file:"):
        raise UserError(f"{source} is a file's address: give its plain path, without file://")
    path = Path(source).expanduser()
    if path.exists():
        return path
    if str(source) in _TAGS:
        raise UserError(
            f"there is no file {source}: as the tag of published weights, create_model(pretrained=...) takes it"
        )
    raise UserError(f"the checkpoint {path} does not exist")


def _official(state: dict[str, Tensor], own: Mapping[str, Tensor], name: str) -> tuple[dict[str, Tensor], str]:
    """The state dict under the model's names, and the format it had."""
    try:
        form = find_format(state)
        if form is None and (inner := without_wrapper(state)) is not None:
            state, form = inner, find_format(inner)
        if form is not None:
            return to_official(state, form), form
        if any(key in own for key in state):
            return state, OWN_NAMES
        return state, detect_format(state)
    except UserError as error:
        raise UserError(f"{name}: {error}") from error


def _head_names(model: nn.Module) -> tuple[str, ...]:
    """Weight and bias of the classifier: the last linear layer."""
    last = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)][-1:]
    own = model.state_dict()
    return tuple(key for name in last for key in (f"{name}.weight", f"{name}.bias") if key in own)


def _fresh_head(state: Mapping[str, Tensor], own: Mapping[str, Tensor], head: Iterable[str]) -> tuple[str, ...]:
    """The head's tensors if the source has another number of classes, and nothing else is different about them."""
    pairs = [(state[key].shape, own[key].shape) for key in head if key in state]
    same_features = all(theirs[1:] == ours[1:] and len(theirs) == len(ours) for theirs, ours in pairs)
    return tuple(head) if same_features and any(theirs != ours for theirs, ours in pairs) else ()


def _share(model: nn.Module, loaded: set[str], head: Iterable[str]) -> float:
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters() if name not in set(head)}
    return sum(size for name, size in sizes.items() if name in loaded) / max(sum(sizes.values()), 1)


def _of_another_model(report: LoadReport, state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    shapes = [f"{n} is {tuple(state[n].shape)}, the model's {tuple(own[n].shape)}" for n in report.other_shape]
    missing = [f"{n} is missing" for n in report.missing]
    examples = (shapes + missing + [f"{n} is not in the model" for n in report.unexpected])[:_SHOWN]
    return (
        f"{report.source} holds the weights of another model: {len(report.missing)} tensors missing, "
        f"{len(report.unexpected)} unexpected, {len(report.other_shape)} of another shape ({'; '.join(examples)}), "
        f"{report.share:.0%} of the backbone's parameters found. Use the model or config it was trained with"
    )


def _check_kinds(report: LoadReport, state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    """Integers are no weights, and complex numbers would be cut."""
    for key in report.loaded:
        kinds = [(tensor.is_floating_point(), tensor.is_complex()) for tensor in (state[key], own[key])]
        if kinds[0] != kinds[1]:
            raise UserError(
                f"{report.source} holds {key} as {state[key].dtype}, the model as {own[key].dtype}: save it as that"
            )
