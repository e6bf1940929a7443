"""Exported files against the model, run as their user would: by ONNX Runtime and by torch, without the package's code."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import export_model as tool
import onnxruntime
import pytest
import torch

from slowfast_mvit.build.export import TOLERANCE, export_model
from slowfast_mvit.build.given_model import GivenModel, given_by_name
from slowfast_mvit.build.model import build_model, create_model
from slowfast_mvit.config.load import load_config
from slowfast_mvit.data.clips import ClipSampling
from slowfast_mvit.errors import UserError
from slowfast_mvit.models.mvit import MViT
from tests.models.small import IMAGE, VIDEO, randomize

TINY_VIDEO = replace(
    VIDEO, depth=2, dim_mul=((1, 2.0),), head_mul=((1, 2.0),), pool_q_stride=((0, (1, 1, 1)), (1, (1, 2, 2)))
)
TINY_IMAGE = replace(
    IMAGE, depth=2, dim_mul=((1, 2.0),), head_mul=((1, 2.0),), pool_q_stride=((0, (1, 1)), (1, (2, 2)))
)


def given(arch, size) -> GivenModel:
    model = MViT(arch, 5)
    randomize(model)
    sampling = ClipSampling(size[0], 4) if len(size) == 3 else None
    labels = ("a", "b", "c", "d", "e")
    return GivenModel(
        model.eval(), "tiny", size, (0.4, 0.5, 0.6), (0.2, 0.2, 0.3), sampling, "softmax", labels, "tiny.pyth"
    )


def run_onnx(path: Path, x: torch.Tensor) -> torch.Tensor:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])


def assert_equal(path: Path, model: torch.nn.Module, size: tuple[int, ...]) -> None:
    for batch in (1, 3):
        x = torch.randn(batch, 3, *size)
        with torch.no_grad():
            torch.testing.assert_close(run_onnx(path, x), model(x), rtol=0, atol=1e-4)


def test_onnx_of_clips_that_are_not_square(tmp_path: Path) -> None:
    one, path = given(TINY_VIDEO, (4, 40, 28)), tmp_path / "new" / "tiny.onnx"
    done = export_model(one, path, form="onnx")
    assert done.files == (path, path.with_suffix(".json")) and sorted(path.parent.iterdir()) == sorted(done.files)
    assert list(done.differences) == [1, 3] and max(done.differences.values()) <= TOLERANCE
    assert_equal(path, one.model, one.size)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (source,), (target,) = session.get_inputs(), session.get_outputs()
    assert (source.name, source.shape, source.type) == ("video", ["batch", 3, 4, 40, 28], "tensor(float)")
    assert (target.name, target.shape) == ("logits", ["batch", 5])
    beside = json.loads(path.with_suffix(".json").read_text())
    inside = json.loads(session.get_modelmeta().custom_metadata_map["slowfast_mvit"])
    assert beside == inside | {"differences": beside["differences"]}
    assert inside["input"]["mean"] == [0.4, 0.5, 0.6] and inside["input"]["std"] == [0.2, 0.2, 0.3]
    assert (
        inside["input"]["layout"] == "batch, channels, frames, height, width" and inside["input"]["sampling_rate"] == 4
    )
    assert inside["labels"] == ["a", "b", "c", "d", "e"] and inside["output"]["activation"] == "none"


def test_a_program_of_torch_with_probabilities(tmp_path: Path) -> None:
    one, path = given(TINY_IMAGE, (28, 36)), tmp_path / "tiny.pt2"
    export_model(one, path, form="torch_export", probabilities=True)
    # Without the package: the program is torch's own.
    code = (
        "import sys, json, torch\n"
        "files = {'slowfast_mvit.json': ''}\n"
        f"program = torch.export.load({str(path)!r}, extra_files=files).module()\n"
        "x = torch.linspace(-1, 1, 3 * 3 * 28 * 36).reshape(3, 3, 28, 36)\n"
        "assert 'slowfast_mvit' not in sys.modules\n"
        "print(json.dumps([program(x).tolist(), program(x[:1]).tolist(), json.loads(files['slowfast_mvit.json'])]))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    three, first, described = json.loads(run.stdout)
    with torch.no_grad():
        expected = one.model(torch.linspace(-1, 1, 3 * 3 * 28 * 36).reshape(3, 3, 28, 36)).softmax(dim=-1)
    torch.testing.assert_close(torch.tensor(three), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(torch.tensor(first), expected[:1], rtol=0, atol=1e-5)
    assert described["output"] == {
        "name": "probabilities",
        "shape": ["batch", 5],
        "activation": "softmax",
        "activation_for_probabilities": "softmax",
    }


def test_a_file_that_gives_something_else_is_not_written(tmp_path: Path, monkeypatch) -> None:
    one, path = given(TINY_IMAGE, (28, 36)), tmp_path / "tiny.pt2"
    export = torch.export.export

    def of_another(model, *arguments, **options):
        other = MViT(TINY_IMAGE, 5).eval()
        return export(other, *arguments, **options)

    monkeypatch.setattr(torch.export, "export", of_another)
    with pytest.raises(UserError, match=r"the exported tiny is not the model: for a batch of 1 outputs of up to"):
        export_model(one, path, form="torch_export")
    assert list(tmp_path.iterdir()) == []


def test_the_model_of_a_config(config_file: Path, tmp_path: Path, capsys) -> None:
    config = load_config(config_file, [])
    torch.manual_seed(3)
    model = build_model(config).eval()
    randomize(model)
    weights, path = tmp_path / "w.pyth", tmp_path / "toy.pt2"
    torch.save({"model_state": model.state_dict(), "label_names": [f"class {n}" for n in range(8)]}, weights)
    arguments = [
        "--cfg",
        str(config_file),
        "--weights",
        str(weights),
        "--format",
        "torch_export",
        "--output",
        str(path),
        "NUM_GPUS",
        "0",
    ]
    assert tool.main(arguments) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("batch of 1: greatest difference from the model ") and out[1].startswith("batch of 3: ")
    assert float(out[0].split()[-1]) <= 1e-4
    described = json.loads(path.with_suffix(".json").read_text())
    side = config.DATA.TEST_CROP_SIZE
    assert described["input"]["shape"] == ["batch", 3, config.DATA.NUM_FRAMES, side, side]
    assert described["labels"][3] == "class 3" and described["input"]["mean"] == list(config.DATA.MEAN)
    x = torch.randn(2, 3, config.DATA.NUM_FRAMES, side, side)
    with torch.no_grad():
        torch.testing.assert_close(torch.export.load(path).module()(x), model(x), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--model", "mvitv2_tt", "--output", "x.onnx"), "there is no classifier 'mvitv2_tt'; did you mean mvitv2_t?"),
        (
            ("--model", "mvitv2_t", "--output", "x.onnx", "NUM_GPUS", "0"),
            "NUM_GPUS is a key of a config, and --model has none",
        ),
        (("--model", "mvitv2_t", "--output", "x.pt2"), "x.pt2 should end in .onnx"),
        (("--model", "mvitv2_t", "--output", "x.onnx"), "the checkpoint no.pyth does not exist"),
        (("--cfg", "ava", "--output", "x.onnx"), "is of a model for boxes or objects (TEST.DATASET is ava)"),
    ],
)
def test_mistakes(arguments, said, tmp_path: Path, monkeypatch, capsys) -> None:
    root = Path(__file__).parents[2]
    monkeypatch.chdir(tmp_path)
    words = [str(root / "configs/AVA/MVITV2_S_16x4.yaml") if word == "ava" else word for word in arguments]
    assert tool.main([*words, "--weights", "no.pyth", "--format", "onnx"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and said in err and len(err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_the_description_takes_the_place_of_no_input(tmp_path: Path, capsys) -> None:
    labels = tmp_path / "x.json"
    labels.write_text("[]")
    words = ["--model", "mvitv2_t", "--weights", "no.pyth", "--format", "onnx", "--output", str(tmp_path / "x.onnx")]
    assert tool.main([*words, "--labels", str(labels)]) == 2
    assert f"{labels} is read, and would be overwritten: give --output another name" in capsys.readouterr().err
    assert labels.read_text() == "[]"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("mvitv2_t", (None, None, None)),
        ("mvitv2_t", (None, 224, 160)),
        ("mvitv2_s_16x4", (None, None, None)),
        ("mvitv2_s_16x4", (16, 224, 160)),
        ("mvitv1_b_16x4", (None, None, None)),
        ("slowfast_r50", (None, None, None)),
    ],
)
def test_real_models(name: str, size: tuple[int | None, ...], tmp_path: Path) -> None:
    model = create_model(name).eval()
    if isinstance(model, MViT):
        randomize(model)
    torch.save({"model_state": model.state_dict()}, tmp_path / "w.pyth")
    one = given_by_name(name, str(tmp_path / "w.pyth"), size=size)
    assert all(n in (None, own) for n, own in zip(size[-len(one.size) :], one.size, strict=True))
    export_model(one, tmp_path / "real.onnx", form="onnx")
    assert_equal(tmp_path / "real.onnx", model, one.size)
