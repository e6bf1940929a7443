"""Models that start from published weights, or from those of a file."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from slowfast_mvit.errors import UserError
from slowfast_mvit.models.detectors import DETECTORS
from slowfast_mvit.weights.containers import unwrap
from slowfast_mvit.weights.fetch import is_url
from slowfast_mvit.weights.formats import find_format, known_format, official_name
from slowfast_mvit.weights.load import load_weights, read_source
from slowfast_mvit.weights.published import Published
from slowfast_mvit.weights.report import log_report
from slowfast_mvit.weights.zoo import find


def create_pretrained(
    create: Callable[..., nn.Module], name: str, pretrained: bool | str | Path, arguments: Mapping[str, Any]
) -> nn.Module:
    """The model ``create(name, **arguments)`` with weights; what the caller left open is as the weights have it.

    The report is logged: as a warning if some tensors other than the head were not in the file.

    Args:
        create: makes the model, with fresh weights.
        name: of the model.
        pretrained: True for the model's own published weights, a tag of :func:`slowfast_mvit.list_weights`, a URL, or a path.
            Text with a slash or a suffix is a path.
        arguments: of ``create``; None stands for an open one.

    Raises:
        UserError: there are no such weights, they cannot be fetched or read, or they are another model's.
    """
    if not isinstance(pretrained, bool | str | Path):
        raise UserError(
            f"pretrained is a {type(pretrained).__name__}; it must be True, a tag, a path or a URL "
            "(for a state dict there is load_weights)"
        )
    published = _published(name, pretrained)
    source = str(pretrained) if published is None else str(published.url)
    content = read_source(source)
    state, _ = known_format(unwrap(content, source))
    count = count_objects if name in DETECTORS else count_classes
    asked: dict[str, Any] = {"num_classes": count(state)}
    if published is not None:
        asked |= {"num_frames": published.num_frames, "crop_size": published.crop_size, **dict(published.switches)}
    given = {key: value for key, value in arguments.items() if value is not None}
    model = create(name, **{**asked, **given})
    log_report(load_weights(model, content, name=source))
    return model


def count_classes(state: Mapping[str, Tensor]) -> int | None:
    """Width of the head in a state dict of any publisher; None where it has none."""
    form = find_format(state)
    if form is None:  # a baseline's: its classifier is its last linear layer
        heads = [tensor for tensor in state.values() if tensor.ndim == 2][-1:]
    else:
        heads = [t for key, t in state.items() if t.ndim and official_name(key, form) == "head.projection.weight"]
    return heads[0].shape[0] if heads else None


def count_objects(state: Mapping[str, Tensor]) -> int | None:
    """Classes that the detector of a state dict of any publisher finds, without the background; None where it is none."""
    last = [tensor for key, tensor in state.items() if key.endswith(".cls_score.weight") and tensor.ndim == 2]
    return len(last[0]) - 1 if last else None


def _published(name: str, pretrained: bool | str | Path) -> Published | None:
    """The entry of the table that is meant; None for a path or a URL."""
    if isinstance(pretrained, Path) or is_url(pretrained):
        return None
    if isinstance(pretrained, str) and ("/" in pretrained or Path(pretrained).suffix):
        return None
    return find(name, pretrained)
