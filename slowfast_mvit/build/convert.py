"""Weights of any publisher as one file of ours."""

from dataclasses import dataclass
from pathlib import Path

from slowfast_mvit.build.model import create_model
from slowfast_mvit.build.pretrained import count_classes
from slowfast_mvit.errors import UserError
from slowfast_mvit.weights.containers import unwrap
from slowfast_mvit.weights.fetch import is_url
from slowfast_mvit.weights.files import write_safetensors
from slowfast_mvit.weights.formats import (
    FORMATS,
    detect_format,
    find_format,
    from_official,
    to_official,
    without_wrapper,
)
from slowfast_mvit.weights.load import OWN_NAMES, load_weights, read_source
from slowfast_mvit.weights.report import LoadReport


@dataclass(frozen=True)
class Conversion:
    """What was converted.

    Attributes:
        found: format of the source's names.
        num_tensors, num_parameters: that were written.
        report: of loading them into the model that was named; None without one.
    """

    found: str
    num_tensors: int
    num_parameters: int
    report: LoadReport | None


def convert_weights(source: str | Path, out: Path, *, model: str | None = None, form: str = "official") -> Conversion:
    """Write the weights of a file or URL, whosever they are, as safetensors.

    The tensors are the source's, bitwise; only their names change, and how they are joined or split. ``load_weights`` takes the
    file again. The names of the source's classes, where it has them, and where it came from stand in the file's metadata.

    Args:
        source: path or URL, in any format that ``load_weights`` knows.
        out: file to write; it must end in .safetensors.
        model: a name of :func:`slowfast_mvit.list_models` that must take the weights, or nothing is written.
        form: whose names to write, a key of :data:`slowfast_mvit.weights.formats.FORMATS`.

    Raises:
        UserError: the source cannot be read, is of no known format, or does not fit the model or the format asked for.
    """
    if out.suffix != ".safetensors":
        raise UserError(f"{out} should end in .safetensors, which is what it will be")
    if form not in FORMATS:
        raise UserError(f"there is no format {form!r}; known are {', '.join(FORMATS)}")
    content = read_source(source)
    state = unwrap(content, str(source))
    found = find_format(state)
    if found is None and (inner := without_wrapper(state)) is not None:
        state, found = inner, find_format(inner)
    if found is None and model is None:
        detect_format(state)  # says which names these are
    if found is None and form != "official":
        raise UserError(f"{source} has names of no publisher of MViT: they can only be written as they are")
    report = None
    if model is not None:
        network = create_model(model, num_classes=count_classes(state))
        report = load_weights(network, content, name=str(source))
    if found is not None:
        state = from_official(to_official(state, found), form)
    names = content.get("label_names", ())
    write_safetensors(
        out,
        state,
        {"format": form, "source": str(source) if is_url(source) else Path(source).name}
        | ({} if model is None else {"model": model})
        | ({"label_names": names} if names else {}),
    )
    return Conversion(
        found=found or OWN_NAMES,
        num_tensors=len(state),
        num_parameters=sum(tensor.numel() for tensor in state.values() if tensor.is_floating_point()),
        report=report,
    )
