"""Which weights a training starts from, and by which rules."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from slowfast_mvit.build.model import architecture
from slowfast_mvit.build.readiness import refuse_unbuilt
from slowfast_mvit.build.run import RunFolder, weights_to_test
from slowfast_mvit.build.train import _average, _restore, _Start
from slowfast_mvit.config.load import load_config
from slowfast_mvit.engine.checkpoint import checkpoint_path, save_checkpoint
from slowfast_mvit.errors import UserError
from slowfast_mvit.models.mvit import MViT
from slowfast_mvit.weights.formats import from_official

RECIPE = str(Path(__file__).parents[2] / "configs" / "Toy" / "MVITV2_TOY_8x4.yaml")
STEM = "patch_embed.proj.weight"


def config_of(folder, *overrides):
    config = load_config(RECIPE, ["MVIT.EMBED_DIM", "8", "OUTPUT_DIR", str(folder), *overrides])
    refuse_unbuilt(config)
    return config


def model_of(config, seed=0, num_classes=8):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return MViT(architecture(config), num_classes)


def restored(config, model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    return _restore(config, RunFolder(Path(config.OUTPUT_DIR)), model, optimizer, scaler)


def test_the_norms_of_pytorchvideo_are_a_warning(tmp_path, caplog):
    path = tmp_path / "v1.pth"
    version_1 = ("MVIT.REL_POS_SPATIAL", "False", "MVIT.REL_POS_TEMPORAL", "False", "MVIT.USE_ABS_POS", "True")
    config = config_of(tmp_path, "TRAIN.CHECKPOINT_FILE_PATH", str(path), *version_1, "MVIT.SEP_POS_EMBED", "True")
    state = model_of(config).state_dict()
    for content, warns in (
        (from_official(state, "pytorchvideo"), True),
        ({"model_state": state, "metadata": {"converted_from": "pytorchvideo"}}, True),
        (state, False),
    ):
        torch.save(content, path)
        caplog.clear()
        with caplog.at_level("WARNING"):
            restored(config, model_of(config))
        assert ["MVIT.POOL_NORM_EPS" in record.getMessage() for record in caplog.records] == [True] * warns


def image_of(config) -> nn.Module:
    """The recipe's model for images: the same without the axis of time, and so without tables for it."""
    arch, flat = architecture(config), {}
    for name in ("input_size", "patch_kernel", "patch_stride", "patch_padding", "pool_kv_stride", "pool_kernel"):
        flat[name] = getattr(arch, name)[1:]
    strides = tuple((block, stride[1:]) for block, stride in arch.pool_q_stride)
    return MViT(replace(arch, **flat, pool_q_stride=strides, rel_pos_time=False), 8)


@pytest.mark.parametrize(
    ("overrides", "factors"),
    [
        ([], (0, 1, 0)),
        (["TRAIN.CHECKPOINT_IN_INIT", "True"], (1, 1, 1)),
        (["TRAIN.CHECKPOINT_INFLATE", "True"], (1 / 3, 1 / 3, 1 / 3)),
    ],
)
def test_image_weights(tmp_path, overrides, factors, caplog):
    path = tmp_path / "image.pth"
    config = config_of(tmp_path / "run", "TRAIN.CHECKPOINT_FILE_PATH", str(path), *overrides)
    image, model = image_of(config), model_of(config)
    torch.save(image.state_dict(), path)
    with caplog.at_level("INFO"):
        assert restored(config, model) == _Start()
    kernel = model.state_dict()[STEM]
    for frame, factor in enumerate(factors):
        torch.testing.assert_close(kernel[:, :, frame], image.state_dict()[STEM] * factor)
    tables = sum(name.endswith("rel_pos_t") for name in model.state_dict())
    # PySlowFast's rule leaves the temporal tables to the model.
    is_whole = factors != (1, 1, 1)
    assert (f"weights of {path} (official names), 100.0% of the backbone's parameters\n" in caplog.text) == is_whole
    assert f"  inflated           {17 if is_whole else 17 - tables:>5}  patch_embed.proj.weight, " in caplog.text
    assert f"  missing            {0 if is_whole else tables:>5}" in caplog.text


def test_texts_are_taken_out_of_names(tmp_path):
    path = tmp_path / "wrapped.pth"
    config = config_of(
        tmp_path, "TRAIN.CHECKPOINT_FILE_PATH", str(path), "TRAIN.CHECKPOINT_CLEAR_NAME_PATTERN", '("net.",)'
    )
    source, model = model_of(config, 1), model_of(config)
    torch.save({"model_state": {f"net.{name}": tensor for name, tensor in source.state_dict().items()}}, path)
    restored(config, model)
    torch.testing.assert_close(dict(model.state_dict()), dict(source.state_dict()), rtol=0, atol=0)


def test_missing_weights_are_a_warning(tmp_path, caplog):
    path = tmp_path / "headless.pth"
    config = config_of(tmp_path, "TRAIN.CHECKPOINT_FILE_PATH", str(path))
    state = {name: tensor for name, tensor in model_of(config).state_dict().items() if not name.startswith("head.")}
    torch.save(state, path)
    with caplog.at_level("INFO"):
        restored(config, model_of(config))
    (record,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert "  missing                2  head.projection.weight, head.projection.bias\n" in record.getMessage()


def test_a_run_goes_on_from_all_of_its_weights_or_not_at_all(tmp_path):
    config = config_of(tmp_path)
    path, source, model = checkpoint_path(tmp_path / "checkpoints", 2), model_of(config, 1), model_of(config)
    save_checkpoint(path, {"epoch": 2, "model_state": source.state_dict(), "label_names": ["a", "b"]})
    assert restored(config, model) == _Start(3, ("a", "b"), None, str(path))
    torch.testing.assert_close(dict(model.state_dict()), dict(source.state_dict()), rtol=0, atol=0)
    save_checkpoint(path, {"epoch": 2, "model_state": model_of(config, 1, num_classes=5).state_dict()})
    said = (
        f"OUTPUT_DIR {tmp_path} holds another model's run, use another OUTPUT_DIR: {path} has a head of 5 classes, and the "
        "model one of 8"
    )
    with pytest.raises(UserError, match=f"^{re.escape(said)}"):
        restored(config, model)  # other classes are no reason for a fresh head in the middle of a run


def test_weights_of_a_test_in_their_order(tmp_path):
    paths = {name: tmp_path / f"{name}.pth" for name in ("given", "trained", "start")}
    for name, path in paths.items():
        save_checkpoint(path, {"model_state": {name: torch.ones(1)}})
    start = ["TRAIN.CHECKPOINT_FILE_PATH", str(paths["start"])]
    given = ["TEST.CHECKPOINT_FILE_PATH", str(paths["given"])]
    folder = RunFolder(tmp_path)

    def found(*overrides, trained=None):
        source, content = weights_to_test(config_of(tmp_path, *overrides), folder, trained)
        return source, *content["model_state"]

    assert weights_to_test(config_of(tmp_path), folder, None) is None
    assert found(*start) == (str(paths["start"]), "start")
    newest = checkpoint_path(folder.checkpoints, 0)
    save_checkpoint(newest, {"model_state": {"newest": torch.ones(1)}})
    assert found(*start) == (str(newest), "newest")
    assert found(*start, trained=paths["trained"]) == (str(paths["trained"]), "trained")
    assert found(*start, *given, trained=paths["trained"]) == (str(paths["given"]), "given")


# Averaged weights


def saved_with_average(folder, config):
    path, last, average = checkpoint_path(folder / "checkpoints", 2), model_of(config, 1), model_of(config, 2)
    save_checkpoint(path, {"epoch": 2, "model_state": last.state_dict(), "ema_state": average.state_dict()})
    return path, last.state_dict(), average.state_dict()


def same(state, other):
    return state.keys() == other.keys() and all(torch.equal(state[name], other[name]) for name in state)


def test_a_test_takes_the_averaged_weights_unless_told_otherwise(tmp_path, caplog):
    config = config_of(tmp_path)
    path, last, average = saved_with_average(tmp_path, config)
    folder = RunFolder(tmp_path)
    for overrides, wanted, said in (
        ((), average, f"taking the averaged weights of {path} (TEST.USE_EMA False takes its last ones)"),
        (("TEST.USE_EMA", "False"), last, f"{path} also holds averaged weights, which TEST.USE_EMA False leaves aside"),
    ):
        for given in ((), ("TEST.CHECKPOINT_FILE_PATH", str(path))):
            caplog.clear()
            with caplog.at_level("INFO"):
                source, content = weights_to_test(config_of(tmp_path, *overrides, *given), folder, None)
            assert source == str(path) and same(content["model_state"], wanted) and content["epoch"] == 2
            assert said in caplog.messages


def test_others_find_the_last_weights(tmp_path):
    config = config_of(tmp_path / "new")
    path, last, _ = saved_with_average(tmp_path, config)
    model = model_of(config)
    restored(config_of(tmp_path / "new", "TRAIN.CHECKPOINT_FILE_PATH", str(path)), model)
    assert same(model.state_dict(), last)


def test_the_average_goes_on_from_that_of_the_checkpoint(tmp_path, caplog):
    config = config_of(tmp_path, "SOLVER.EMA_DECAY", "0.9")
    path, last, average = saved_with_average(tmp_path, config)
    model = model_of(config)
    start = restored(config, model)
    assert same(model.state_dict(), last) and same(_average(config, model, start).model.state_dict(), average)
    assert _average(config_of(tmp_path), model, start) is None
    save_checkpoint(path, {"epoch": 2, "model_state": last})
    begun = _average(config, model, restored(config, model))
    assert same(begun.model.state_dict(), last)
    assert f"{path} holds no averaged weights (ema_state): the average begins with its last weights" in caplog.messages
    other = model_of(config, num_classes=5).state_dict()
    save_checkpoint(path, {"epoch": 2, "model_state": last, "ema_state": other})
    with pytest.raises(UserError, match=f"ema_state of {path} has a head of 5 classes"):
        _average(config, model, restored(config, model))
