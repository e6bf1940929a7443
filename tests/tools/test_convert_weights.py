"""tools/convert_weights.py: whosever weights they are, the file that it writes holds the same tensors and loads."""

from pathlib import Path

import convert_weights
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from slowfast_mvit import create_model, load_weights
from slowfast_mvit.engine.sharded import save_sharded
from slowfast_mvit.weights.formats import FORMATS, from_official
from tests.engine.ranks import rank_alone


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    """Weights of an MViTv2-T of 6 classes, under the official names; not for writing."""
    torch.manual_seed(2)
    return create_model("mvitv2_t", num_classes=6).state_dict()


def convert(*arguments: object) -> int:
    return convert_weights.main([str(argument) for argument in arguments])


@pytest.mark.parametrize("form", list(FORMATS))
def test_every_publishers_weights_become_ours(form: str, state, tmp_path: Path, capsys) -> None:
    source, out = tmp_path / "theirs.pth", tmp_path / "ours.safetensors"
    torch.save({"state_dict": from_official(state, form)}, source)
    assert convert(source, out, "--model", "mvitv2_t") == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"weights of {source} ({form} names), 100.0% of the backbone's parameters"
    assert said[-2] == f"{source}: {form} names"
    # Parity_facts.md 1.4: 24,173,320 with 1000 classes of 768 numbers and a bias each.
    assert said[-1] == f"{out}: official names, 242 tensors, {24_173_320 - 994 * 769:,} parameters"
    written = load_file(out)
    assert written.keys() == state.keys() and all(torch.equal(written[key], state[key]) for key in state)
    with safe_open(out, "pt") as file:
        origin = {} if form == "official" else {"converted_from": form}
        assert file.metadata() == {"format": "official", "source": "theirs.pth", "model": "mvitv2_t", **origin}
    model = create_model("mvitv2_t", num_classes=6)
    assert load_weights(model, out).is_complete
    assert all(torch.equal(tensor, state[key]) for key, tensor in model.state_dict().items())


@pytest.mark.parametrize("form", [form for form in FORMATS if form != "official"])
def test_ours_become_every_publishers(form: str, state, tmp_path: Path) -> None:
    source, out = tmp_path / "ours.pyth", tmp_path / "theirs.safetensors"
    torch.save({"model_state": state, "label_names": list("abcdef")}, source)
    assert convert(source, out, "--format", form) == 0
    written, theirs = load_file(out), from_official(state, form)
    assert written.keys() == theirs.keys() and written.keys() != state.keys()
    assert all(torch.equal(written[key], theirs[key]) for key in theirs)
    with safe_open(out, "pt") as file:
        assert file.metadata()["label_names"] == '["a", "b", "c", "d", "e", "f"]'


def test_timms_own_network_takes_them(state, tmp_path: Path) -> None:
    from timm import create_model as create_timm

    torch.save({"model_state": state}, tmp_path / "ours.pyth")
    assert convert(tmp_path / "ours.pyth", tmp_path / "timm.safetensors", "--format", "timm") == 0
    network = create_timm("mvitv2_tiny", num_classes=6)
    network.load_state_dict(load_file(tmp_path / "timm.safetensors"))


def test_a_network_inside_another(state, tmp_path: Path, capsys) -> None:
    torch.save({"state_dict": {f"model.{key}": tensor for key, tensor in state.items()}}, tmp_path / "lightning.ckpt")
    assert convert(tmp_path / "lightning.ckpt", tmp_path / "ours.safetensors") == 0
    assert load_file(tmp_path / "ours.safetensors").keys() == state.keys()
    assert "official names" in capsys.readouterr().out


def test_a_baseline_needs_its_name(tmp_path: Path, capsys) -> None:
    state = create_model("x3d_xs", num_classes=6).state_dict()
    source, out = tmp_path / "x3d.pyth", tmp_path / "x3d.safetensors"
    torch.save({"model_state": state}, source)
    assert convert(source, out) == 2
    assert "name that as the model (--model x3d_m, MODEL.ARCH x3d_m)" in capsys.readouterr().err
    assert convert(source, out, "--model", "x3d_xs", "--format", "timm") == 2
    assert "they can only be written as they are" in capsys.readouterr().err
    assert not out.exists()
    assert convert(source, out, "--model", "x3d_xs") == 0
    said = capsys.readouterr().out.splitlines()
    assert said[-2] == f"{source}: the model's own names" and said[-1].startswith(f"{out}: the model's own names, ")
    with safe_open(out, "pt") as file:
        assert file.metadata()["format"] == "the model's own"
    written = load_file(out)
    assert written.keys() == state.keys() and all(torch.equal(written[key], state[key]) for key in state)


def test_what_the_model_takes_in_another_shape_is_not_written(state, tmp_path: Path, capsys) -> None:
    """Or the file would not be what the report says: images for a video model, tables of another length, pools of two forms."""
    source, out = tmp_path / "ours.pyth", tmp_path / "out.safetensors"
    video = create_model("mvitv2_s_16x4", num_classes=6, num_frames=8).state_dict()
    pools = {key: t[:, :, None] if ".pool_" in key else t for key, t in state.items()}
    image = create_model("mvitv2_s", num_classes=6).state_dict()
    for name, weights, said in (
        ("mvitv2_s_16x4", image, "mvitv2_s_16x4 takes 67 tensors of"),  # 48 pools, the stem, 16 + 2 tables
        ("mvitv2_s_16x4", video, "mvitv2_s_16x4 takes 16 tensors of"),
        ("mvitv2_s", video, "holds a video model's weights"),
        ("mvitv2_t", pools, "mvitv2_t takes 30 tensors of"),
    ):
        torch.save(weights, source)
        assert convert(source, out, "--model", name) == 2
        assert said in capsys.readouterr().err and not out.exists()
        assert convert(source, out) == 0
        written = load_file(out)
        assert written.keys() == weights.keys() and all(torch.equal(written[key], weights[key]) for key in weights)
        out.unlink()


def test_pytorchvideos_norms_are_kept_in_mind(tmp_path: Path) -> None:
    state = create_model("mvitv1_b_16", num_classes=6).state_dict()
    source, once, twice = tmp_path / "theirs.pth", tmp_path / "once.safetensors", tmp_path / "twice.safetensors"
    torch.save(from_official(state, "pytorchvideo"), source)
    assert convert(source, once, "--model", "mvitv1_b_16") == 0 and convert(once, twice, "--format", "mmaction2") == 0
    for path in (once, twice):
        assert create_model("mvitv1_b_16", pretrained=path).arch.pool_norm_eps == 1e-5


def test_mistakes_end_in_one_sentence_and_write_nothing(state, tmp_path: Path, capsys) -> None:
    source, out = tmp_path / "ours.pyth", tmp_path / "out.safetensors"
    torch.save({"model_state": state}, source)
    incomplete = tmp_path / "incomplete.pyth"
    torch.save({key: tensor for key, tensor in state.items() if key != "blocks.1.attn.proj.weight"}, incomplete)
    (tmp_path / "page.pyth").write_text("<!DOCTYPE html><html>sign in</html>")
    (tmp_path / "file").write_text("")
    for arguments, said in (
        (
            (source, tmp_path / "out.pth"),
            f"{tmp_path / 'out.pth'} should end in .safetensors, which is what it will be",
        ),
        ((tmp_path / "none.pyth", out), "none.pyth does not exist"),
        ((tmp_path / "page.pyth", out), "is a web page"),
        ((source, out, "--model", "mvitv2_s"), "holds the weights of another model"),
        ((source, out, "--model", "mvitv2_tt"), "there is no model 'mvitv2_tt'; did you mean mvitv2_t?"),
        (
            (incomplete, out, "--format", "timm"),
            "incomplete.pyth: there is no blocks.1.attn.proj.weight, without which",
        ),
        ((source, "/proc/x.safetensors"), "/proc/x.safetensors cannot be written: "),
        ((source, tmp_path / "file" / "out.safetensors"), f"{tmp_path / 'file'} is not a folder; give OUT another"),
        ((source, tmp_path), "should end in .safetensors"),
    ):
        assert convert(*arguments) == 2
        err = capsys.readouterr().err
        assert err.startswith("error: ") and said in err and len(err.splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "incomplete.pyth", "ours.pyth", "page.pyth"]


def test_a_checkpoint_in_parts_becomes_a_plain_one(tmp_path: Path, capsys) -> None:
    model = nn.Linear(2, 3)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    content = {"epoch": 4, "model_state": model.state_dict(), "optimizer_state": optimizer.state_dict(), "cfg": "A: 1"}
    folder, out = tmp_path / "checkpoint_epoch_00005.sharded", tmp_path / "checkpoint_epoch_00005.pyth"
    with rank_alone(tmp_path / "ranks") as world:
        save_sharded(folder, content, world)
    assert convert(folder, out) == 0
    # Weight and bias, and two moments of each.
    assert capsys.readouterr().out == f"{out}: the whole checkpoint, 6 tensors\n"
    written = torch.load(out, weights_only=True)
    assert written.keys() == content.keys() and (written["epoch"], written["cfg"]) == (4, "A: 1")
    assert all(torch.equal(written["model_state"][key], tensor) for key, tensor in model.state_dict().items())
    again = torch.optim.AdamW(model.parameters())
    again.load_state_dict(written["optimizer_state"])
    for parameter in model.parameters():
        assert all(torch.equal(again.state[parameter][key], value) for key, value in optimizer.state[parameter].items())


def test_only_parts_become_a_plain_checkpoint(state, tmp_path: Path, capsys) -> None:
    source, out = tmp_path / "plain.pth", tmp_path / "out.pyth"
    torch.save(state, source)
    assert convert(source, out) == 2 and not out.exists()
    assert capsys.readouterr().err == (
        f"error: {source} is not the folder of a sharded checkpoint, which alone is written as a plain checkpoint: give a file "
        "that ends in .safetensors to write weights\n"
    )
    with pytest.raises(SystemExit):
        convert(source, out, "--model", "mvitv2_t")
    assert "--model and --format are for weights" in capsys.readouterr().err
