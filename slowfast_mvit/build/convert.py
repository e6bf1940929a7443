"""Weights of any publisher as one file of ours."""

from dataclasses import dataclass
from pathlib import Path

from slowfast_mvit.build.model import create_model
from slowfast_mvit.build.pretrained import count_classes
from slowfast_mvit.engine.checkpoint import save_checkpoint
from slowfast_mvit.errors import UserError, check_output
from slowfast_mvit.weights.containers import unwrap
from slowfast_mvit.weights.fetch import is_url
from slowfast_mvit.weights.files import read_weights, write_safetensors
from slowfast_mvit.weights.formats import (
    FORMATS,
    OWN_NAMES,
    detect_format,
    from_official,
    known_format,
    to_official,
)
from slowfast_mvit.weights.load import load_weights, publisher, read_source
from slowfast_mvit.weights.report import LoadReport
from slowfast_mvit.weights.sharded import flatten, is_sharded_folder


@dataclass(frozen=True)
class Conversion:
    """What was converted.

    Attributes:
        found, written: format of the source's names, and of those in the file.
        num_tensors, num_parameters: that were written.
        report: of loading them into the model that was named; None without one.
    """

    found: str
    written: str
    num_tensors: int
    num_parameters: int
    report: LoadReport | None


def join_parts(source: str | Path, out: Path) -> int:
    """Write the folder of a sharded checkpoint as the plain file that one process would have written; returns its tensors.

    Training goes on from it as from the folder, and PySlowFast reads it.

    Raises:
        UserError: the source is no such folder or damaged, or the file cannot be written.
    """
    path = Path(source)
    if not is_sharded_folder(path):
        raise UserError(
            f"{source} is not the folder of a sharded checkpoint, which alone is written as a plain checkpoint: "
            "give a file that ends in .safetensors to write weights"
        )
    check_output(out, "OUT")
    content = read_weights(path)
    save_checkpoint(out, content)
    return len(flatten(content)[0])


def convert_weights(source: str | Path, out: Path, *, model: str | None = None, form: str = "official") -> Conversion:
    """Write the weights of a file or URL, whosever they are, as safetensors.

    The tensors are the source's, bitwise; only their names change, and how they are joined or split. ``load_weights`` takes the
    file again. The names of the source's classes, where it has them, and where and whose it was stand in the file's metadata.

    Args:
        source: path or URL, in any format that ``load_weights`` knows.
        out: file to write; it must end in .safetensors.
        model: a name of :func:`slowfast_mvit.list_models` that must take the weights as they are, without resizing or inflating
            any, or nothing is written.
        form: whose names to write, a key of :data:`slowfast_mvit.weights.formats.FORMATS`.

    Raises:
        UserError: the source cannot be read, is of no known format, or does not fit the model or the format asked for; the
            file cannot be written.
    """
    if out.suffix != ".safetensors":
        raise UserError(f"{out} should end in .safetensors, which is what it will be")
    if form not in FORMATS:
        raise UserError(f"there is no format {form!r}; known are {', '.join(FORMATS)}")
    check_output(out, "OUT")
    content = read_source(source)
    state, found = known_format(unwrap(content, str(source)))
    if found is None and model is None:
        detect_format(state)  # says which names these are
    if found is None and form != "official":
        raise UserError(f"{source} has names of no publisher of MViT: they can only be written as they are")
    report = None
    if model is not None:
        network = create_model(model, num_classes=count_classes(state))
        report = load_weights(network, content, name=str(source))
        changed = (*report.inflated, *report.resized, *report.squeezed, *report.other_shape)
        if changed:
            raise UserError(
                f"{model} takes {len(changed)} tensors of {source} only in another shape, for example {changed[0]}: without "
                "--model they are written as they are"
            )
    if found is not None:
        try:
            state = from_official(to_official(state, found), form)
        except UserError as error:
            raise UserError(f"{source}: {error}") from error
    written = OWN_NAMES if found is None else form
    origin = publisher(content, found)
    names = content.get("label_names", ())
    write_safetensors(
        out,
        state,
        {"format": written, "source": str(source) if is_url(source) else Path(source).name}
        | ({} if origin in (None, "official") else {"converted_from": origin})
        | ({} if model is None else {"model": model})
        | ({"label_names": names} if names else {}),
    )
    return Conversion(
        found=found or OWN_NAMES,
        written=written,
        num_tensors=len(state),
        num_parameters=sum(tensor.numel() for tensor in state.values() if tensor.is_floating_point()),
        report=report,
    )
