"""Anybody's weights into a model, with an honest report."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from slowfast_mvit.errors import UserError
from slowfast_mvit.weights.containers import unwrap
from slowfast_mvit.weights.fetch import discard, fetch, is_url, refuse_other_schemes
from slowfast_mvit.weights.files import missing, read_weights
from slowfast_mvit.weights.formats import OWN_NAMES, detect_format, known_format, pool_norm_eps, to_official
from slowfast_mvit.weights.grids import grids_of
from slowfast_mvit.weights.inflate import inflate
from slowfast_mvit.weights.places import is_of_classifiers, place_of
from slowfast_mvit.weights.report import LoadReport, of_another_model, other_classes, other_convolutions, other_table
from slowfast_mvit.weights.resize import adapt, is_convolution, is_table
from slowfast_mvit.weights.table import PUBLISHED

_TAGS = frozenset(entry.tag for entry in PUBLISHED)
_POOL_NORM, _USUAL_EPS = re.compile(r".*\.attn\.norm_[qkv]"), 1e-6
_NOTE = (
    "the norms after pools have the publisher's epsilon now, {eps:g}: a model for checkpoints that come of this one is made "
    "with pool_norm_eps={eps:g} (MVIT.POOL_NORM_EPS)"
)
_COUNTER = ".num_batches_tracked"  # of batch normalisation: old files lack it, and nothing here depends on it


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
    inflated into a video model; the head keeps the values it has where the classes are others. The norms after pools get the
    epsilon of PyTorchVideo's MViTv1 with its weights.

    A detector takes a classifier's weights into its backbone, and begins all else anew; of the classifier its class token, last
    norm and head are dropped.

    Args:
        model: receives the weights. It is left as it was if anything is raised. A detector names the tensors that depend on
            the classes in ``head_names``; the head of any other model is its last linear layer.
        source: a file, a URL (fetched once and kept), or a state dict, bare or in its publisher's container.
        inflation: rule for image weights in a video model, see :func:`slowfast_mvit.weights.inflate.inflate`.
        min_share: the share of the parameters outside of the head (of a detector's backbone, where the weights are a
            classifier's), by number of elements, that must arrive, 0 to 1. Unless it is 0,
            no tensor of another shape is left out, except the head's: that is another model's file, and not a short one.
        new_head: allow a head of other classes.
        strict: demand every tensor of the model and know every tensor of the source, the head included; inflate nothing.
        name: what the report and the errors call the source; the file or URL by default.

    Raises:
        UserError: the source cannot be read, is of no known format, or is another model's.
    """
    if not isinstance(model, nn.Module):
        raise UserError(f"load_weights takes a model first and its weights second, and not a {type(model).__name__}")
    if not isinstance(min_share, int | float) or not 0 <= min_share <= 1:
        raise UserError(f"min_share is {min_share!r}; it must be 0 to 1")
    if isinstance(source, Mapping):
        content: Mapping[str, Any] = source
        name = name or "the state dict"
    elif isinstance(source, str | Path):
        content = read_source(source)
        name = name or str(source)
    else:
        raise UserError(f"the weights are a {type(source).__name__}; they must be a file, a URL or a state dict")
    own = model.state_dict()
    if any(tensor.is_meta for tensor in own.values()):
        raise UserError(
            "the model is on the meta device, which holds no numbers: make it on another one (model.to_empty)"
        )
    state, form = _official(unwrap(content, name), own, name)
    place = place_of(own)
    state, planned = place.below(state), place.below(own)
    inflated_state, inflated = inflate(state, planned, inflation)
    if strict and inflated:
        raise UserError(f"{name} holds image weights: a test, or a run that goes on, needs this model's own")
    state, changed = adapt(inflated_state, planned, grids_of(place.module(model)))
    anew = place.begun_anew(state, own)
    if strict and anew:
        raise UserError(
            f"{name} holds a classifier's weights: a test, or a run that goes on, needs this detector's own"
        )
    dropped = [key for key in state if is_of_classifiers(key) and key not in planned] if anew else []
    state = dict(zip(place.back(state, own), state.values(), strict=True))
    head = tuple(getattr(model, "head_names", ())) if place.gives_maps else _head_names(model)
    fresh = _fresh_head(state, own, head)
    refused_head = fresh if strict or not new_head else ()
    fresh = () if refused_head else fresh
    known = [key for key in own if key in state and key not in fresh]
    fits = {key for key in known if state[key].shape == own[key].shape}
    eps = pool_norm_eps(state, publisher(content, form))
    other_norms = [] if eps == _USUAL_EPS else _pool_norms_without(model, eps)
    report = LoadReport(
        source=name,
        format=form,
        loaded=tuple(key for key in known if key in fits),
        missing=tuple(k for k in own if not (k in state or k in fresh or k in anew or k.endswith(_COUNTER))),
        unexpected=tuple(key for key in state if key not in own and key not in dropped),
        other_shape=tuple(key for key in known if key not in fits),
        resized=tuple(place.back([key for key in changed if not is_convolution(key)], own)),
        squeezed=tuple(place.back([key for key in changed if is_convolution(key)], own)),
        kept_head=fresh,
        begun_anew=anew,
        dropped=tuple(dropped),
        inflated=tuple(inflated),
        share=_share(model, fits, {*head, *anew}),
        note=_NOTE.format(eps=eps) if other_norms else "",
    )
    if refused_head and (not strict or {*report.other_shape, *report.missing} == set(refused_head)):
        raise UserError(other_classes(report, refused_head, state, own))
    misfits = [key for key in report.other_shape if key not in head] if min_share > 0 else []
    if misfits:
        raise UserError(_misfit(report, misfits, state, own))
    if report.share < min_share or (strict and (not report.is_complete or report.unexpected)):
        raise UserError(of_another_model(report, state, own))
    _check_values(report, state, own)
    model.load_state_dict({key: state[key] for key in report.loaded}, strict=False)
    for norm in other_norms:
        norm.eps = eps
    mvit = place.module(model)
    arch: Any = getattr(mvit, "arch", None)
    if other_norms and arch is not None:  # which tells of them
        setattr(mvit, "arch", replace(arch, pool_norm_eps=eps))  # noqa: B010
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
    refuse_other_schemes(source)
    path = Path(source).expanduser()
    if path.exists():
        return path
    if str(source) in _TAGS:
        raise UserError(
            f"there is no file {source}: as the tag of published weights, create_model(pretrained=...) takes it"
        )
    raise UserError(missing(path))


def publisher(content: Mapping[str, Any], form: str | None) -> str | None:
    """Whose weights a file of that format holds: its own publisher's, or that of the file that it was converted from."""
    metadata = content.get("metadata")
    return metadata.get("converted_from", form) if isinstance(metadata, Mapping) else form


def _official(state: dict[str, Tensor], own: Mapping[str, Tensor], name: str) -> tuple[dict[str, Tensor], str]:
    """The state dict under the model's names, and the format it had."""
    try:
        state, form = known_format(state)
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


def _share(model: nn.Module, loaded: set[str], others: set[str]) -> float:
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters() if name not in others}
    return sum(size for name, size in sizes.items() if name in loaded) / max(sum(sizes.values()), 1)


def _misfit(report: LoadReport, keys: Iterable[str], state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    """The sentence for tensors of another shape outside the head: the convolutions say most, position tables least."""
    keys = list(keys)
    convolutions = [key for key in keys if max(state[key].dim(), own[key].dim()) > 3]
    if convolutions:
        return other_convolutions(report, convolutions[0], state, own)
    if all(map(is_table, keys)):
        return other_table(report, keys[0], state, own)
    return of_another_model(report, state, own)


def _pool_norms_without(model: nn.Module, eps: float) -> list[nn.LayerNorm]:
    """The norms after pools whose epsilon is another one."""
    norms = [module for name, module in model.named_modules() if _POOL_NORM.fullmatch(name)]
    return [norm for norm in norms if isinstance(norm, nn.LayerNorm) and norm.eps != eps]


def _check_values(report: LoadReport, state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    """Integers are no weights, complex numbers would be cut, and what is not finite spoils every output."""
    for key in report.loaded:
        kinds = [(tensor.is_floating_point(), tensor.is_complex()) for tensor in (state[key], own[key])]
        if kinds[0] != kinds[1]:
            raise UserError(
                f"{report.source} holds {key} as {state[key].dtype}, the model as {own[key].dtype}: save it as that"
            )
        if not torch.isfinite(state[key].to(own[key].dtype)).all():
            raise UserError(
                f"{report.source} holds numbers in {key} that are not finite: it is damaged, or its training diverged"
            )
