"""Models as files that run without this package: ONNX, and torch.export's programs.

The batch is dynamic, the other extents are those that were asked for. A file is checked before it takes its name: what it
gives, run by ONNX Runtime or read back by torch, must be what the model gives here, for a batch of one and of three.
"""

import importlib
import json
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from slowfast_mvit.build.given_model import GivenModel
from slowfast_mvit.data.clips import ClipSampling
from slowfast_mvit.errors import UserError, check_output

FORMATS = {"onnx": ".onnx", "torch_export": ".pt2"}
TOLERANCE = 1e-4
"""Of the greatest difference, relative to the greatest output where that is over 1."""
CHECKED_BATCHES = (1, 3)
METADATA = "slowfast_mvit"  # key of the description inside the files
_LARGEST_PROTOBUF = 2**31 - 2**24  # bytes: protobuf's limit, less room for the graph
_EXAMPLES = 2  # a batch of one would be taken for a constant

Run = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        files: all of them, the model first, its description last.
        differences: for each checked batch size, the greatest difference from the model here.
    """

    files: tuple[Path, ...]
    differences: Mapping[int, float]


def export_model(given: GivenModel, out: Path, *, form: str, probabilities: bool = False) -> Exported:
    """Write a model as ``form``, and its description beside it as JSON.

    The description also stands inside the file: ONNX's metadata, or torch's extra file ``slowfast_mvit.json``. The model runs
    in float32.

    Args:
        given: the model and its input.
        out: the file, which ends in .onnx or .pt2; weights over 2 GB lie beside it, as ONNX demands.
        form: ``onnx`` or ``torch_export``.
        probabilities: put softmax, or sigmoid for several labels, at the end.

    Raises:
        UserError: a package is missing, the input does not fit the model, the file cannot be written, or what it gives is not
            what the model gives.
    """
    check_export(out, form)
    model = _WithActivation(given.model, given.activation) if probabilities else given.model
    shape = (3, *given.size)
    example = _inputs(_EXAMPLES, shape)
    try:
        with torch.no_grad():
            model(example)
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"{given.name} takes no input of {_words(given.size)} ({error}): give another --frames, --height or --width"
        ) from error
    with torch.no_grad(), _quiet():
        program = torch.export.export(
            model, (example,), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},), strict=False
        )
    described = describe(given, form, probabilities=probabilities)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".export-") as folder:
        written = Path(folder) / out.name
        run = (_write_onnx if form == "onnx" else _write_program)(program, written, described)
        differences = {batch: _difference(model, run, _inputs(batch, shape)) for batch in CHECKED_BATCHES}
        wrong = {batch: text for batch, (value, text) in differences.items() if not value <= TOLERANCE}
        if wrong:
            raise UserError(
                f"the exported {given.name} is not the model: for a batch of {next(iter(wrong))} {next(iter(wrong.values()))}; "
                "nothing is written: try another version of torch or onnxruntime"
            )
        sidecar = written.with_suffix(".json")
        figures = {str(batch): value for batch, (value, _) in differences.items()}
        sidecar.write_text(json.dumps(described | {"differences": figures}, indent=1) + "\n", encoding="utf-8")
        names = [written, *sorted(set(Path(folder).iterdir()) - {written, sidecar}), sidecar]
        files = tuple(path.replace(out.parent / path.name) for path in names)
    return Exported(files, {batch: value for batch, (value, _) in differences.items()})


def check_export(out: Path, form: str, *, inputs: Sequence[Path] = ()) -> None:
    """Refuse, before any work, a format that does not exist or lacks its packages, and files that cannot be written.

    Neither the model nor its description may take the place of one of the ``inputs``.
    """
    if form not in FORMATS:
        raise UserError(f"there is no format {form!r}; known are {', '.join(FORMATS)}")
    if out.suffix != FORMATS[form]:
        raise UserError(f"{out} should end in {FORMATS[form]}, which is what it will be (--format {form})")
    for file in (out, out.with_suffix(".json")):
        check_output(file, "--output", inputs=inputs)
    for package in ("onnx", "onnxscript", "onnxruntime") if form == "onnx" else ():
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise UserError(
                f"writing ONNX needs the package {package}, which cannot be loaded ({error}): pip install "
                "'slowfast_mvit[export]'"
            ) from error


def describe(given: GivenModel, form: str, *, probabilities: bool) -> dict[str, Any]:
    """All that a user of the file must know, as JSON takes it."""
    axes = ("frames", "height", "width")[-len(given.size) :]
    described: dict[str, Any] = {
        "model": given.name,
        "format": form,
        "weights": given.weights,
        "torch": torch.__version__,
        "input": {
            "name": _input_name(given.size),
            "layout": "batch, channels, " + ", ".join(axes),
            "shape": ["batch", 3, *given.size],
            "dtype": "float32",
            "channels": "RGB",
            "normalisation": "(value / 255 - mean) / std, of pixels 0 to 255",
            "mean": list(given.mean),
            "std": list(given.std),
        },
        "output": {
            "name": "probabilities" if probabilities else "logits",
            "shape": ["batch", _width(given.model)],
            "activation": given.activation if probabilities else "none",
            "activation_for_probabilities": given.activation,
        },
        "labels": list(given.labels),
    }
    if isinstance(given.sampling, ClipSampling):
        rate, fps = given.sampling.sampling_rate, given.sampling.target_fps
        described["input"]["clip"] = f"every {rate}th frame of a video at {fps:g} frames per second"
        described["input"] |= {"sampling_rate": rate, "fps": fps}
    elif given.sampling is not None:
        described["input"]["clip"] = f"the middle frame of each of {given.size[0]} equal parts of the video"
    return described


class _WithActivation(nn.Module):
    """A model with probabilities for output."""

    def __init__(self, model: nn.Module, activation: str) -> None:
        super().__init__()
        self.model = model
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        logits = self.model(x)
        return logits.softmax(dim=-1) if self.activation == "softmax" else logits.sigmoid()


def _write_onnx(program: torch.export.ExportedProgram, path: Path, described: Mapping[str, Any]) -> Run:
    import onnxruntime

    source, target = described["input"]["name"], described["output"]["name"]
    with _quiet():
        onnx = torch.onnx.export(program, (), dynamo=True, input_names=[source], output_names=[target], verbose=False)
    assert onnx is not None
    for value in (onnx.model.graph.inputs[0], onnx.model.graph.outputs[0]):
        assert value.shape is not None
        value.shape[0] = "batch"  # and not a name of the exporter's, as s77
    onnx.model.metadata_props[METADATA] = json.dumps(dict(described))
    size = sum(tensor.numel() * tensor.element_size() for tensor in program.state_dict.values())
    onnx.save(str(path), external_data=size > _LARGEST_PROTOBUF)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda x: torch.from_numpy(session.run([target], {source: x.numpy()})[0])


def _write_program(program: torch.export.ExportedProgram, path: Path, described: Mapping[str, Any]) -> Run:
    torch.export.save(program, path, extra_files={f"{METADATA}.json": json.dumps(dict(described))})
    return torch.export.load(path).module()


@torch.no_grad()
def _difference(model: nn.Module, run: Run, x: Tensor) -> tuple[float, str]:
    """The greatest difference of both outputs, relative to the greatest output where that is over 1; and in words."""
    expected, found = model(x), run(x)
    if found.shape != expected.shape:
        return float("inf"), f"it gives {list(found.shape)} and not {list(expected.shape)}"
    difference, greatest = (found - expected).abs().max().item(), expected.abs().max().item()
    return difference / max(1.0, greatest), f"outputs of up to {greatest:.3g} differ by {difference:.1e}"


def _inputs(batch: int, shape: tuple[int, ...]) -> Tensor:
    return torch.randn(batch, *shape, generator=torch.Generator().manual_seed(batch))


def _input_name(size: tuple[int, ...]) -> str:
    return "video" if len(size) == 3 else "images"


def _width(model: nn.Module) -> int:
    return [module for module in model.modules() if isinstance(module, nn.Linear)][-1].out_features


def _words(size: tuple[int, ...]) -> str:
    *frames, height, width = size
    return f"{f'{frames[0]} frames of ' if frames else ''}{height} x {width} pixels"


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporters' notes about themselves are nothing that a user can mend."""
    loggers = [logging.getLogger(name) for name in ("onnxscript", "torch.onnx", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
