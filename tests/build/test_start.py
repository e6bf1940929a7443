"""Which weights a training starts from, and by which rules."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import nn

from slowfast_mvit.build.model import architecture
from slowfast_mvit.build.readiness import refuse_unbuilt
from slowfast_mvit.build.run import RunFolder, weights_to_test
from slowfast_mvit.build.start import average_of, load_start, position_in
from slowfast_mvit.config.load import load_config
from slowfast_mvit.engine.checkpoint import checkpoint_path, save_checkpoint
from slowfast_mvit.engine.distributed import World
from slowfast_mvit.engine.loop import Position
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
    return load_start(config, RunFolder(Path(config.OUTPUT_DIR)), model, World())


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
        start = restored(config, model)
    assert (start.source, start.position, start.content) == ("", Position(), {})
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
    start = restored(config, model)
    assert (start.source, start.position, start.label_names) == (str(path), Position(epoch=3), ("a", "b"))
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


def saved_withaverage_of(folder, config):
    path, last, average = checkpoint_path(folder / "checkpoints", 2), model_of(config, 1), model_of(config, 2)
    save_checkpoint(path, {"epoch": 2, "model_state": last.state_dict(), "ema_state": average.state_dict()})
    return path, last.state_dict(), average.state_dict()


def same(state, other):
    return state.keys() == other.keys() and all(torch.equal(state[name], other[name]) for name in state)


def test_a_test_takes_the_averaged_weights_unless_told_otherwise(tmp_path, caplog):
    config = config_of(tmp_path)
    path, last, average = saved_withaverage_of(tmp_path, config)
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
    path, last, _ = saved_withaverage_of(tmp_path, config)
    model = model_of(config)
    restored(config_of(tmp_path / "new", "TRAIN.CHECKPOINT_FILE_PATH", str(path)), model)
    assert same(model.state_dict(), last)


def test_the_average_goes_on_from_that_of_the_checkpoint(tmp_path, caplog):
    config = config_of(tmp_path, "SOLVER.EMA_DECAY", "0.9")
    path, last, average = saved_withaverage_of(tmp_path, config)
    model = model_of(config)
    start = restored(config, model)
    assert same(model.state_dict(), last) and same(average_of(config, model, start).model.state_dict(), average)
    assert average_of(config_of(tmp_path), model, start) is None
    save_checkpoint(path, {"epoch": 2, "model_state": last})
    begun = average_of(config, model, restored(config, model))
    assert same(begun.model.state_dict(), last)
    assert f"{path} holds no averaged weights (ema_state): the average begins with its last weights" in caplog.messages
    other = model_of(config, num_classes=5).state_dict()
    save_checkpoint(path, {"epoch": 2, "model_state": last, "ema_state": other})
    with pytest.raises(UserError, match=f"ema_state of {path} has a head of 5 classes"):
        average_of(config, model, restored(config, model))


# Ranks


@dataclass(frozen=True)
class Pair(World):
    """Two ranks, of which this is the first; the other says the same, but that it has read the checkpoint before."""

    def everyones(self, item):
        return [item, item.replace("00002.pyth", "00001.pyth") if isinstance(item, str) else item]


def test_ranks_that_read_different_checkpoints_do_not_begin(tmp_path):
    config = config_of(tmp_path)
    for epoch in (0, 1):
        path = checkpoint_path(tmp_path / "checkpoints", epoch)
        save_checkpoint(path, {"epoch": epoch, "model_state": model_of(config).state_dict()})
    with pytest.raises(UserError, match=r"rank 0 has read .*00002\.pyth and rank 1 .*00001\.pyth, since one of them"):
        load_start(config, RunFolder(tmp_path), model_of(config), Pair())


# Places


def test_places_of_runs_with_other_steps(tmp_path, caplog):
    inside = Position(2, 3, 10, skipped=1, recent_losses=(1.0, 2.0), sums={"loss": 3.0})
    assert position_in(inside, 10) == inside and not caplog.records
    assert position_in(inside, 5) == replace(inside, step=1, steps_per_epoch=5)  # 0.3 of 5 steps
    assert position_in(inside, 40) == replace(inside, step=12, steps_per_epoch=40)
    assert caplog.messages[0] == "epochs have 5 steps now and had 10: going on from step 1 of this one"
    caplog.clear()
    assert position_in(replace(inside, step=10), 7) == replace(inside, step=7, steps_per_epoch=7)
    assert position_in(Position(epoch=3), 7) == Position(epoch=3, steps_per_epoch=7) and not caplog.records


def test_a_checkpoint_inside_an_epoch_and_what_was_validated_since(tmp_path):
    config = config_of(tmp_path)
    position = Position(4, 6, 6, 2, (0.5, 0.25), {"clips": 12.0, "loss": 9.0, "seconds": 2.0})
    stored = {**vars(position), "recent_losses": [0.5, 0.25]}
    rows = [{"epoch": 4, "loss": 1.0, "val_top1_acc": 50.0}, {"epoch": 5, "loss": 0.75}]
    path = checkpoint_path(tmp_path / "checkpoints", 4)
    save_checkpoint(
        path, {"epoch": 4, "model_state": model_of(config).state_dict(), "position": stored, "history": rows}
    )
    start = restored(config, model_of(config))
    assert start.position == position and start.history.as_list() == rows and not start.history.is_validated(5)
    (tmp_path / "epochs.csv").write_text("epoch,loss,val_top1_acc,val_top5_acc\n4,1,50,\n5,0.75,62.5,80\n6,0.5,70,90\n")
    start = restored(config, model_of(config))
    assert start.history.as_list()[1] == rows[1] | {"val_top1_acc": 62.5, "val_top5_acc": 80.0}
    unfinished = {**stored, "step": 3}
    save_checkpoint(path, {"epoch": 3, "model_state": model_of(config).state_dict(), "position": unfinished})
    assert not restored(config, model_of(config)).history.rows  # these metrics are of other weights
    assert start.history.best() == (5, "top1_acc", 62.5)  # epoch 6 is of a time that this checkpoint does not know
