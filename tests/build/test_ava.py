"""Boxes by config, from end to end on a small toy set: training, validation, tests, files, several ranks, bad input."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import eval_ava
import numpy as np
import pandas as pd
import pytest
import run_net
import torch

from slowfast_mvit.build import evaluate
from slowfast_mvit.build.ava import box_protocol, boxes_to_test, boxes_to_train, key_frame_clips
from slowfast_mvit.build.ava_lists import ava_list
from slowfast_mvit.build.evaluate import evaluate_videos, run_test
from slowfast_mvit.build.fingerprint import fingerprint_of
from slowfast_mvit.build.kinds import list_of, protocol_of
from slowfast_mvit.build.model import build_model
from slowfast_mvit.build.train import run_training
from slowfast_mvit.config.load import load_config
from slowfast_mvit.data.toy_ava import ToyAva, make_toy_ava
from slowfast_mvit.engine.checkpoint import list_checkpoints
from slowfast_mvit.engine.distributed import World
from slowfast_mvit.errors import UserError
from slowfast_mvit.evaluation.ava_views import BoxResult
from slowfast_mvit.models.action import ActionMViT
from slowfast_mvit.tasks.ava import ActionDetection
from slowfast_mvit.weights.files import read_weights
from tests.engine.ranks import run_ranks

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "configs" / "Toy" / "MVITV2_TOY_AVA.yaml"
CPU = torch.device("cpu")
SMALL = [
    "DATA.TRAIN_CROP_SIZE", "64", "DATA.TEST_CROP_SIZE", "64", "DATA.TRAIN_JITTER_SCALES", "[64,72]", "TRAIN.BATCH_SIZE", "4",
    "TRAIN.EVAL_PERIOD", "1", "SOLVER.MAX_EPOCH", "1", "SOLVER.WARMUP_EPOCHS", "0", "TEST.BATCH_SIZE", "4",
    "DATA_LOADER.NUM_WORKERS", "0", "LOG_PERIOD", "1",
]  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Four videos to train and two to test, of three key frames each."""
    return make_toy_ava(
        tmp_path_factory.mktemp("toy_ava"), ToyAva(4, 2, num_seconds=3, height=64, width=128), processes=1
    )


def places(data, output):
    return [
        "AVA.FRAME_DIR", str(data / "videos"), "AVA.ANNOTATION_DIR", str(data / "annotations"), "OUTPUT_DIR", str(output),
    ]  # fmt: skip


def config_of(data, output, *overrides):
    return load_config(RECIPE, [*SMALL, *places(data, output), *overrides])


def table(path):
    return pd.read_csv(path, header=None, names=["video", "second", "x1", "y1", "x2", "y2", "action", "score"])


def map_by_the_tool(data, output, scores):
    """What tools/eval_ava.py says of a run's detections."""
    files = data / "annotations"
    command = ["--groundtruth", files / "ava_val_v2.2.csv", "--detections", output / "predictions" / "detections.csv",
               "--labelmap", files / "ava_action_list_v2.2_for_activitynet_2019.pbtxt",
               "--exclusions", files / "ava_val_excluded_timestamps_v2.2.csv", "--output", scores]  # fmt: skip
    assert eval_ava.main([str(part) for part in command]) == 0
    return json.loads((scores / "metrics.json").read_text())["map"]


@pytest.mark.slow
def test_the_recipe_learns_what_everybody_does(tmp_path):
    """Films that it has not seen, noisy detections; centre crops hold half of each frame and of its people."""
    data, out = make_toy_ava(tmp_path / "data", ToyAva()), tmp_path / "run"
    assert run_net.main(["--cfg", str(RECIPE), *places(data, out)]) == 0
    whole = json.loads((out / "metrics.json").read_text())
    assert whole["protocol"] == "whole frames, short side 96" and whole["num_key_frames"] == 240
    assert whole["map"] >= 80
    assert map_by_the_tool(data, out, tmp_path / "scores") == whole["map"]
    centre = tmp_path / "centre"
    weights = ["TEST.CHECKPOINT_FILE_PATH", str(out / "checkpoints" / "checkpoint_epoch_00005.pyth")]
    test = [*places(data, centre), "TRAIN.ENABLE", "False", "AVA.TEST_CENTRE_CROP", "True", *weights]
    assert run_net.main(["--cfg", str(RECIPE), *test]) == 0
    crops = json.loads((centre / "metrics.json").read_text())
    print(f"mAP {whole['map']:.1f} on whole frames, {crops['map']:.1f} on centre crops")
    assert 40 < crops["map"] < whole["map"] and "cent" in crops["protocol"]
    assert map_by_the_tool(data, centre, tmp_path / "scores of crops") == crops["map"]


def test_a_job_trains_validates_tests_and_its_file_scores_as_it_says(data, tmp_path, capsys):
    assert run_net.main(["--cfg", str(RECIPE), *SMALL, *places(data, tmp_path / "run")]) == 0
    out = tmp_path / "run"
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    losses = [line for line in lines if line["kind"] == "train"]
    assert len(losses) == 3 and all(0.3 < line["loss"] < 1.2 and 0 <= line["top1_acc"] <= 100 for line in losses)
    (validation,) = [line for line in lines if line["kind"] == "val"]
    assert 0 <= validation["map"] <= 100
    metrics = json.loads((out / "metrics.json").read_text())
    keys = ava_list(config_of(data, out), "test")
    assert (metrics["num_key_frames"], metrics["num_boxes"]) == (len(keys), len(keys.boxes))
    assert metrics["protocol"] == "whole frames, short side 64"
    detections = table(out / "predictions" / "detections.csv")
    assert len(detections) == len(keys.boxes) * 8 and detections["score"].between(0, 1).all()
    assert detections["action"].tolist() == list(range(1, 9)) * len(keys.boxes)
    np.testing.assert_allclose(detections[["x1", "y1", "x2", "y2"]].to_numpy()[::8], keys.boxes, rtol=1e-8)
    boxes = pd.read_csv(out / "predictions" / "boxes.csv")
    best = detections["score"].to_numpy().reshape(-1, 8)
    assert boxes["score_1"].tolist() == pytest.approx(best.max(axis=1), rel=1e-5)
    assert boxes["action_1"].tolist() == [keys.label_names[number] for number in best.argmax(axis=1)]
    classes = pd.read_csv(out / "predictions" / "classes.csv")
    assert classes["name"].tolist() == list(keys.label_names)
    assert map_by_the_tool(data, out, tmp_path / "scores") == metrics["map"]
    assert json.loads((out / "labels.json").read_text())["blink"] == 7
    # A second job of the same kind has nothing to train, and tests the same weights to the same file.
    before = (out / "predictions" / "detections.csv").read_bytes()
    assert run_net.main(["--cfg", str(RECIPE), *SMALL, *places(data, out)]) == 0
    assert (out / "predictions" / "detections.csv").read_bytes() == before
    capsys.readouterr()


def scores_by(config, model, split="test", world=World()):  # noqa: B008 - frozen
    return evaluate_videos(
        config, model, list_of(config, split), protocol_of(config, split), CPU, "float32", split, world
    )


def random_model(config):
    torch.manual_seed(0)
    model = build_model(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return model


def test_batches_and_views(data, tmp_path):
    config = config_of(data, tmp_path)
    model = random_model(config)
    together = scores_by(config, model).result
    alone = scores_by(replace(config, TEST=replace(config.TEST, BATCH_SIZE=1)), model).result
    np.testing.assert_allclose(together.scores, alone.scores, atol=1e-5)
    views = config_of(data, tmp_path, "AVA.TEST_FLIP", "True", "AVA.TEST_SHORT_SIDES", "[64,80]")
    protocol = protocol_of(views, "test")
    assert protocol.num_views == 4
    single = [
        scores_by(config_of(data, tmp_path, "AVA.TEST_SHORT_SIDES", f"[{side}]", "AVA.TEST_FLIP", flip), model).result
        for side in (64, 80) for flip in ("True",)
    ]  # fmt: skip
    np.testing.assert_allclose(
        scores_by(views, model).result.scores, np.mean([each.scores for each in single], axis=0), atol=1e-5
    )
    centre = scores_by(config_of(data, tmp_path, "AVA.TEST_CENTRE_CROP", "True"), model).result
    assert np.abs(centre.scores - together.scores).max() > 1e-3


def test_the_validation_takes_centre_crops_of_every_fourth_second(data, tmp_path):
    config = config_of(data, tmp_path, "AVA.FULL_TEST_ON_VAL", "False", "AVA.TEST_CENTRE_CROP", "False")
    with pytest.raises(UserError, match="none of its seconds is divisible by 4"):
        ava_list(config, "val")
    protocol = box_protocol(config, validation=True)
    assert (protocol.crop_size, protocol.every) == (64, 4) and str(protocol).endswith("seconds divisible by 4")
    assert box_protocol(config_of(data, tmp_path), validation=True).every == 1
    assert box_protocol(config, validation=False).crop_size == 0


def test_the_validation_scores_the_truth_of_every_fourth_second_alone(data, tmp_path):
    """Of truth at seconds 904 and 905 of one video, as of the detections, second 904 alone counts."""
    root = tmp_path / "data"
    shutil.copytree(data, root)
    rows = [f"val_0004,{second},0.1,0.1,0.5,0.5,1," for second in (904, 905)]
    (root / "annotations" / "ava_val_v2.2.csv").write_text("".join(f"{row}0\n" for row in rows))
    (root / "annotations" / "ava_val_predicted_boxes.csv").write_text("".join(f"{row}0.9\n" for row in rows))
    for full, videos, expected in (("False", [0], 100), ("True", [0, 1], 100), ("True", [0], 50)):
        config = config_of(root, tmp_path, "AVA.FULL_TEST_ON_VAL", full)
        keys, protocol = ava_list(config, "val"), box_protocol(config, validation=True)
        assert len(keys) == (1 if full == "False" else 2)
        result = BoxResult(np.array(videos), np.array(videos), np.full((len(videos), 8), 0.5, dtype=np.float32))
        assert boxes_to_test(config, keys, protocol, "float32", CPU).metrics(result) == {"map": expected}


def test_the_short_side_is_drawn_as_by_pyslowfast(data, tmp_path):
    for overrides, inverse in (((), True), (("AVA.IMG_PROC_BACKEND", "pytorch"), False),
                               (("AVA.IMG_PROC_BACKEND", "pytorch", "DATA.INV_UNIFORM_SAMPLE", "True"), True)):  # fmt: skip
        config = config_of(data, tmp_path, *overrides)
        assert key_frame_clips(config, ava_list(config, "train")).transform.crop.inverse is inverse


def rank_test(world, config):
    """On each rank: test, and say what rank 0 got."""
    return run_test(config, CPU, world, random_weights=True)


def rank_trainings(world, configs):
    for config in configs:
        world.sum([0])
        run_training(config, CPU, world)


def test_two_ranks_test_as_one(data, tmp_path):
    one = config_of(data, tmp_path / "one")
    run_test(one, CPU, random_weights=True)
    two = config_of(data, tmp_path / "two")
    metrics = run_ranks(rank_test, 2, tmp_path / "ranks", two)
    files = [tmp_path / name / "predictions" / "detections.csv" for name in ("one", "two")]
    np.testing.assert_allclose(table(files[1])["score"], table(files[0])["score"], atol=1e-6)
    assert len(table(files[0])) == len(table(files[1])) and metrics[1] is None


def test_two_ranks_train_as_one(data, tmp_path):
    """Their boxes differ in number, and one rank has no clip in the last pass: in copies, and in parts with less memory."""
    plain = ["TRAIN.BATCH_SIZE", "5", "TRAIN.EVAL_PERIOD", "9", "SOLVER.CLIP_GRAD_L2NORM", "None",
             "SOLVER.OPTIMIZING_METHOD", "sgd", "SOLVER.EMA_DECAY", "0.5"]  # fmt: skip
    spared = [*plain, "MODEL.ACT_CHECKPOINT", "True", "MODEL.PRECISION", "float16"]
    for name, way in (("copies", plain), ("parts", spared)):
        run_training(config_of(data, tmp_path / f"{name}, one rank", *way), CPU)
    two = [("copies", plain), ("parts", [*spared, "DISTRIBUTED.STRATEGY", "fsdp"])]
    run_ranks(rank_trainings, 2, tmp_path / "ranks", [config_of(data, tmp_path / name, *way) for name, way in two])
    for name, suffix in (("copies", ".pyth"), ("parts", ".sharded")):
        files = [list_checkpoints(tmp_path / run / "checkpoints")[-1] for run in (f"{name}, one rank", name)]
        assert files[1].suffix == suffix
        one, other = map(read_weights, files)
        for part in ("model_state", "ema_state"):
            torch.testing.assert_close(other[part], one[part], rtol=1e-4, atol=1e-5)
        assert other["history"][-1]["loss"] == pytest.approx(one["history"][-1]["loss"], rel=1e-5)
        moved = max((one["ema_state"][key] - tensor).abs().max() for key, tensor in one["model_state"].items())
        assert moved > 1e-4  # or no step would have been made


def test_a_test_goes_on_from_its_finished_key_frames(data, tmp_path, monkeypatch):
    """Stopped after two batches, with a part of the journal for each; a changed setting of the test begins anew."""
    config = config_of(data, tmp_path / "run", "TEST.BATCH_SIZE", "1")
    whole = run_test(config_of(data, tmp_path / "whole", "TEST.BATCH_SIZE", "1"), CPU, random_weights=True)
    seen = []

    def count(self, model, batch, real=ActionDetection.probabilities):
        seen.append(batch.video_index.tolist())
        if len(seen) == 3:
            raise UserError("cut off")
        return real(self, model, batch)

    monkeypatch.setattr(evaluate, "SECONDS", 0.0)
    monkeypatch.setattr(ActionDetection, "probabilities", count)
    with pytest.raises(UserError, match="cut off"):
        run_test(config, CPU, random_weights=True)
    metrics = run_test(config, CPU, random_weights=True)
    assert seen == [[key] for key in (0, 1, 2, 2, 3, 4, 5)]
    files = [tmp_path / name / "predictions" / "detections.csv" for name in ("run", "whole")]
    assert files[0].read_bytes() == files[1].read_bytes() and metrics["map"] == whole["map"]
    keys, protocol = list_of(config, "test"), protocol_of(config, "test")
    first = fingerprint_of(config, "w", keys, protocol, "float32")
    other_boxes = replace(keys, boxes=keys.boxes + 0.001)
    flipped = protocol_of(config_of(data, tmp_path, "AVA.TEST_FLIP", "True"), "test")
    assert first != fingerprint_of(config, "w", other_boxes, protocol, "float32")
    assert first != fingerprint_of(config, "w", keys, flipped, "float32")
    assert first == fingerprint_of(config, "w", list_of(config, "test"), protocol, "float32")


# Models by config.


def test_the_scale_is_the_model_s(data, tmp_path):
    assert isinstance(build_model(config_of(data, tmp_path, "DETECTION.SPATIAL_SCALE_FACTOR", "32")), ActionMViT)
    with pytest.raises(UserError, match="SPATIAL_SCALE_FACTOR is 16, but a cell of the last feature map of mvit is 32"):
        build_model(config_of(data, tmp_path, "DETECTION.SPATIAL_SCALE_FACTOR", "16"))
    slow = ("MODEL.ARCH", "slow_r50", "DETECTION.SPATIAL_SCALE_FACTOR")
    assert build_model(config_of(data, tmp_path, *slow, "16")).pixels_per_cell == 16
    with pytest.raises(UserError, match=r"of slow_r50 is 16 pixels wide.*set it to 16, or to 0"):
        build_model(config_of(data, tmp_path, *slow, "32"))


# Bad input.


def test_exclusive_labels_where_somebody_does_several_things(data, tmp_path):
    config = config_of(data, tmp_path, "MODEL.LOSS_FUNC", "cross_entropy", "MODEL.HEAD_ACT", "softmax")
    with pytest.raises(UserError, match=r"boxes have several actions, the first at train_\d+,09"):
        boxes_to_train(config, ava_list(config, "train"), "float32")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda root: shutil.rmtree(root / "videos"), "there is no folder of videos or frames"),
        (lambda root: (root / "annotations" / "ava_val_v2.2.csv").unlink(), "there is no file"),
        (lambda root: (root / "annotations" / "ava_val_predicted_boxes.csv").write_text("x,902,0,0,1,1,,0.9\n"), "x"),
        (
            lambda root: (root / "annotations" / "ava_val_predicted_boxes.csv").write_text(
                "val_0004,901,0,0,1,1,,nan\n"
            ),
            "nan",
        ),
    ],
)
def test_files_that_are_missing_or_wrong_cost_no_training(data, tmp_path, capsys, change, said):
    root = tmp_path / "data"
    shutil.copytree(data, root)
    change(root)
    assert run_net.main(["--cfg", str(RECIPE), *SMALL, *places(root, tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert said in error and "Traceback" not in error
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_video_that_cannot_be_read_is_said_and_the_rest_is_tested(data, tmp_path, capsys):
    root = tmp_path / "data"
    shutil.copytree(data, root)
    (root / "videos" / "val_0004.mp4").write_bytes(b"no video")
    test = [*places(root, tmp_path / "run"), "TRAIN.ENABLE", "False"]
    torch.manual_seed(0)
    checkpoint = tmp_path / "weights.pyth"
    torch.save({"model_state": build_model(config_of(root, tmp_path)).state_dict()}, checkpoint)
    assert run_net.main(["--cfg", str(RECIPE), *SMALL, *test, "TEST.CHECKPOINT_FILE_PATH", str(checkpoint)]) == 2
    error = capsys.readouterr().err
    assert "test key frames could not be read and whoever is there counts as not found" in error
    assert set(table(tmp_path / "run" / "predictions" / "detections.csv")["video"]) == {"val_0005"}
    unreadable = pd.read_csv(tmp_path / "run" / "predictions" / "unreadable.csv")
    assert len(unreadable) >= 2 and unreadable["video"].str.startswith("val_0004,09").all()


def test_a_bad_training_video_counts_once_however_many_key_frames_it_has(data, tmp_path):
    root = tmp_path / "data"
    shutil.copytree(data, root)
    (root / "videos" / "train_0001.mp4").write_bytes(b"no video")
    run_training(config_of(root, tmp_path / "run", "DATA.MAX_BAD_VIDEOS", "1"), CPU)
    assert len(pd.read_csv(tmp_path / "run" / "unreadable_train.csv")) == 1


def test_detections_without_truth(data, tmp_path):
    metrics = run_test(config_of(data, tmp_path, "AVA.GROUNDTRUTH_FILE", ""), CPU, random_weights=True)
    assert "map" not in metrics and (tmp_path / "predictions" / "detections.csv").is_file()
    assert not (tmp_path / "predictions" / "classes.csv").exists()
