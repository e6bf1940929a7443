"""Tests by config on several ranks, cut off and gone on with: always the files of one undisturbed process."""

import json
import logging
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from slowfast_mvit.build import clips, evaluate
from slowfast_mvit.build.data import videos_of, view_protocol
from slowfast_mvit.build.evaluate import evaluate_videos, run_test
from slowfast_mvit.build.model import build_model
from slowfast_mvit.build.train import run_training
from slowfast_mvit.config.load import load_config
from slowfast_mvit.config.schema import Config
from slowfast_mvit.data.clips import MultiViewVideos
from slowfast_mvit.engine.distributed import World
from slowfast_mvit.engine.stopping import Stopped, StopRequest
from slowfast_mvit.errors import UserError
from slowfast_mvit.evaluation.journal import Journal
from slowfast_mvit.models.mvit import MViT
from tests.commands import ROOT, finish, start
from tests.engine.ranks import run_ranks

CPU = torch.device("cpu")
# Three views of each of ten videos in batches of 7 per machine, which run across videos.
FEW = ("TEST.NUM_ENSEMBLE_VIEWS", "1", "TEST.NUM_SPATIAL_CROPS", "3", "TEST.SAVE_PROBABILITIES", "True")


@contextmanager
def decoding(stop_at: int = 0) -> Iterator[list[int]]:
    """The indices of the videos that this process decodes; at the ``stop_at``-th it gets SIGTERM."""
    plain, decoded = MultiViewVideos.__getitem__, []

    def noted(self: MultiViewVideos, index: int) -> Any:
        decoded.append(index)
        if len(decoded) == stop_at:
            signal.raise_signal(signal.SIGTERM)
        return plain(self, index)

    MultiViewVideos.__getitem__ = noted
    try:
        yield decoded
    finally:
        MultiViewVideos.__getitem__ = plain


def one_test(world: World, config: Config, seed: int = 0, stop_at: int = 0) -> tuple[Any, list[int], str]:
    """What a rank's test with random weights returns, which videos it decodes, and the error that it ends with."""
    config = replace(config, RNG_SEED=seed)
    with decoding(stop_at) as decoded:
        try:
            return run_test(config, CPU, world, random_weights=True), decoded, ""
        except UserError as error:
            return None, decoded, f"{type(error).__name__}: {error}"


def several(world: World, calls: list[tuple[Any, ...]]) -> list[Any]:
    """Some tests in turn, in the same processes."""
    return [one_test(world, *call) for call in calls]


@pytest.fixture
def configured(config_file: Path, tmp_path: Path):
    """The small config with overrides, writing to a folder of this name."""

    def make(name: str, *overrides: str) -> Config:
        return load_config(config_file, [*FEW, "OUTPUT_DIR", str(tmp_path / name), *overrides])

    return make


@pytest.fixture
def copied_data(toy_data: Path, tmp_path: Path) -> Path:
    """A copy of the toy set that may be spoiled."""
    return Path(shutil.copytree(toy_data, tmp_path / "data"))


@pytest.fixture
def lists(toy_data: Path, tmp_path: Path):
    """Overrides for the first videos of the test list, some of which cannot be read."""

    def make(count: int, *unreadable: int) -> tuple[str, ...]:
        folder = tmp_path / f"list_{count}_{'_'.join(map(str, unreadable))}"
        folder.mkdir()
        lines = (toy_data / "test.csv").read_text().splitlines()[:count]
        for number in unreadable:
            (folder / f"bad_{number}.mp4").touch()
            lines[number] = f"{folder}/bad_{number}.mp4 {lines[number].rsplit(' ', 1)[1]}"
        (folder / "test.csv").write_text("\n".join(lines) + "\n")
        for name in ("train.csv", "val.csv"):  # which the names of the labels are taken from too
            (folder / name).write_text((toy_data / name).read_text())
        return ("DATA.PATH_TO_DATA_DIR", str(folder), "DATA.PATH_PREFIX", f"{toy_data}/")

    return make


def files_of(config: Config) -> dict[str, str]:
    """The tables and metrics of a run, by name."""
    root = Path(config.OUTPUT_DIR)
    return {
        str(path.relative_to(root)): path.read_text()
        for path in sorted(root.rglob("*"))
        if path.suffix in (".csv", ".json")
    }


def assert_same_results(found: Config, expected: Config) -> None:
    """The same files: words and numbers to the letter, scores to 1e-6. Views share batches with others than in one process."""
    ours, theirs = files_of(found), files_of(expected)
    assert set(ours) == set(theirs) and ours
    for name, text in theirs.items():
        if name.endswith(".json"):
            assert json.loads(ours[name]) == json.loads(text)
            continue
        one, other = (pd.read_csv(Path(config.OUTPUT_DIR) / name) for config in (found, expected))
        pd.testing.assert_frame_equal(one, other, rtol=0, atol=1.9e-6)  # of six digits: 1e-6 may become 2e-6
    for path in Path(expected.OUTPUT_DIR).rglob("probabilities.npz"):
        with np.load(path) as other, np.load(Path(found.OUTPUT_DIR) / path.relative_to(expected.OUTPUT_DIR)) as one:
            assert all(np.array_equal(one[key], other[key]) for key in ("video", "label"))
            assert all(np.allclose(one[key], other[key], rtol=0, atol=1e-6) for key in ("video_scores", "views"))


def parts_of(config: Config) -> list[Path]:
    return sorted(Path(config.OUTPUT_DIR).rglob("unfinished/*.part"))


def kept(config: Config, folder: str = "predictions") -> list[int]:
    """Videos in the parts that a test has left."""
    at = Path(config.OUTPUT_DIR) / folder / "unfinished"
    keys = {path.name.split("-")[0] for path in at.glob("*.part")}
    assert len(keys) == 1
    return sorted(int(video) for rows in Journal(at, keys.pop()).read() for video in rows.videos)


# Several ranks


def test_ranks_together_find_what_one_finds(configured, lists, tmp_path: Path) -> None:
    """Ten videos, one video, and lists of which some or all cannot be read, on three ranks and on one."""
    data = {"ten": lists(10), "one": lists(1), "some": lists(10, 1, 3, 5, 9), "none": lists(2, 0, 1)}
    alone = {name: configured(f"{name}_alone", *data[name]) for name in data}
    shared = {name: configured(f"{name}_shared", *data[name]) for name in data}
    expected = several(World(), [(config,) for config in alone.values()])
    ranks = run_ranks(several, 3, tmp_path, [(config,) for config in shared.values()])
    for place, name in enumerate(data):
        metrics, decoded, error = expected[place]
        found = [rank[place] for rank in ranks]
        assert [returned for returned, _, _ in found] == [metrics, None, None]
        assert [said for _, _, said in found] == [error.replace("_alone", "_shared")] * 3
        assert [videos for _, videos, _ in found] == [decoded[rank::3] for rank in range(3)]
        assert_same_results(shared[name], alone[name])
        assert parts_of(shared[name]) == parts_of(alone[name]) == []
    assert "4 of 10 test videos could not be read" in expected[2][2]
    assert "none of the 2 test videos could be read" in expected[3][2]
    assert (
        list(pd.read_csv(tmp_path / "some_shared" / "predictions" / "unreadable.csv")["cause"])
        == ["the file is empty"] * 4
    )


def ruined(world: World, config: Config) -> str:
    """The error of a test whose weights are ruined on the last rank, which all others must raise without waiting."""
    model = build_model(config)
    if world.rank == world.size - 1:
        torch.nn.init.constant_(next(model.parameters()), float("nan"))
    videos = videos_of(config, "test")
    with pytest.raises(UserError) as error:
        evaluate_videos(config, model, videos, view_protocol(config), CPU, "float32", "test", world)
    return str(error.value)


def test_scores_that_are_not_finite_on_one_rank_stop_all(configured, tmp_path: Path) -> None:
    said = run_ranks(ruined, 2, tmp_path, configured("run"))
    assert said[0] == said[1] and said[0].startswith("the model's scores are not finite numbers: ")


def test_too_little_memory_says_what_helps_a_test(configured, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(MViT, "forward", full)
    said = one_test(World(), configured("run"))[2]
    assert said == (
        "UserError: cpu has too little memory for this step: lower TEST.BATCH_SIZE, or set MODEL.PRECISION bfloat16"
    )


# Cut off, and gone on with


@pytest.mark.parametrize(("before", "after"), [(1, 1), (2, 1), pytest.param(2, 3, marks=pytest.mark.slow)])
def test_finished_videos_are_not_tested_again_on_any_number_of_ranks(
    before: int, after: int, configured, tmp_path: Path
) -> None:
    whole, config = configured("whole"), configured("run")
    one_test(World(), whole)

    def on(size: int, *call: Any) -> list[Any]:
        return [one_test(World(), *call)] if size == 1 else run_ranks(one_test, size, tmp_path, *call)

    first = on(before, config, 0, 5)  # signalled at the fifth video of a rank
    folder = Path(config.OUTPUT_DIR) / "predictions" / "unfinished"
    assert {said for _, _, said in first} == {
        f"Stopped: stopped by SIGTERM: start the same command again: finished videos are kept in {folder}"
    }
    finished = kept(config)
    assert 0 < len(finished) < 10 and len(set(finished)) == len(finished)
    assert files_of(config) == {}
    second = on(after, config)
    decoded = [index for _, videos, _ in second for index in videos]
    assert sorted(decoded) == sorted(set(range(10)) - set(finished))
    assert max(len(videos) for _, videos, _ in second) <= -(-len(decoded) // after)
    assert_same_results(config, whole)
    assert not folder.exists()


def on_its_own_machine(world: World, config: Config) -> tuple[list[int], list[int]]:
    """A test that is stopped and gone on with, on ranks that see different folders, each the only process of its machine.

    Returns the videos that a rank's folder has kept, and those that the rank decodes afterwards.
    """
    alone = replace(world, local_rank=0, local_size=1)
    config = replace(config, OUTPUT_DIR=f"{config.OUTPUT_DIR}_{world.rank}")
    one_test(alone, config, 0, 4)
    finished = kept(config)
    return finished, one_test(alone, config)[1]


def test_machines_that_see_different_folders(configured, tmp_path: Path) -> None:
    whole, config, first = configured("whole"), configured("run"), configured("run_0")
    one_test(World(), whole)
    finished, again = zip(*run_ranks(on_its_own_machine, 2, tmp_path, config), strict=True)
    assert [{video % 2 for video in videos} for videos in finished] == [{0}, {1}]
    decoded = [index for videos in again for index in videos]
    assert sorted([*decoded, *finished[0], *finished[1]]) == list(range(10))
    assert_same_results(first, whole)
    assert list((tmp_path / "run_1").rglob("*.*")) == []


KILLED = """
import sys
from slowfast_mvit.build import evaluate
evaluate.SECONDS = 0.0  # a part for every batch
sys.path.insert(0, "tools")
import run_net
sys.exit(run_net.main(sys.argv[1:]))
"""


def test_a_killed_test_goes_on_and_leaves_the_same_files(
    configured, config_file: Path, copied_data: Path, tmp_path: Path
) -> None:
    """The files of the finished videos are emptied before the restart: only a test that leaves them alone succeeds."""
    data = ("DATA.PATH_TO_DATA_DIR", str(copied_data))
    weights = run_training(configured("trained", *data, "SOLVER.MAX_EPOCH", "1"), CPU)
    test_only = [*FEW, *data, "TRAIN.ENABLE", "False", "TEST.CHECKPOINT_FILE_PATH", str(weights)]
    config, whole = configured("run", *test_only), configured("whole", *test_only)
    run_test(whole, CPU)
    overrides = [*test_only, "OUTPUT_DIR", config.OUTPUT_DIR, "DATA_LOADER.NUM_WORKERS", "1"]
    process = start(sys.executable, "-c", KILLED, "--cfg", str(config_file), *overrides, cwd=ROOT)
    while not parts_of(config):
        assert process.poll() is None
        time.sleep(0.002)
    process.kill()
    assert finish(process)[0] == -signal.SIGKILL
    assert not (tmp_path / "run" / "metrics.json").exists()
    finished = kept(config)
    assert 0 < len(finished) < 10
    names = [line.rsplit(" ", 1)[0] for line in (copied_data / "test.csv").read_text().splitlines()]
    for index in finished:
        (copied_data / names[index]).write_bytes(b"")
    with decoding() as decoded:
        run_test(config, CPU)
    assert decoded == sorted(set(range(10)) - set(finished))
    for name in ("clips.csv", "videos.csv"):
        assert (tmp_path / "run" / "predictions" / name).exists()
    assert_same_results(config, whole)


def test_other_weights_test_everything_again(configured, caplog: pytest.LogCaptureFixture) -> None:
    config, whole = configured("run"), configured("whole")
    one_test(World(), whole, 1)
    one_test(World(), config, 0, 6)
    assert kept(config)
    with caplog.at_level(logging.INFO):
        _, decoded, said = one_test(World(), config, 1)
    assert (decoded, said) == (list(range(10)), "")
    assert any("removed what another test, which was not finished, has left" in line for line in caplog.messages)
    assert not any("finished already" in line for line in caplog.messages)
    assert_same_results(config, whole)


def test_how_much_is_finished_is_said_and_damage_costs_its_videos_only(
    configured, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    config, whole = configured("run"), configured("whole")
    one_test(World(), whole)
    monkeypatch.setattr(evaluate, "SECONDS", 0.0)
    one_test(World(), config, 0, 9)
    finished, parts = kept(config), parts_of(config)
    assert len(parts) > 1
    parts[0].write_bytes(parts[0].read_bytes()[:-1])
    left = kept(config)
    assert len(left) < len(finished)
    caplog.clear()
    with caplog.at_level(logging.INFO):
        _, decoded, _ = one_test(World(), config)
    assert f"test: {len(left)} of 10 videos are finished already" in caplog.messages
    assert f"{parts[0]} is damaged: its videos are tested again" in caplog.messages
    assert decoded == sorted(set(range(10)) - set(left))
    assert_same_results(config, whole)


def test_without_resumption_nothing_is_kept_or_used(configured) -> None:
    config = configured("run", "TEST.RESUME", "False")
    _, _, said = one_test(World(), config, 0, 6)
    assert said == "Stopped: stopped by SIGTERM: start the same command again"
    assert parts_of(config) == []
    one_test(World(), configured("run"), 0, 6)
    parts = parts_of(config)
    assert parts
    assert one_test(World(), config)[1] == list(range(10))
    assert parts_of(config) == parts


def test_unreadable_videos_are_tried_again(configured, lists) -> None:
    config = configured("run", *lists(10, 1))
    _, decoded, _ = one_test(World(), config, 0, 7)
    assert 1 in decoded and 1 not in kept(config)
    _, decoded, said = one_test(World(), config)
    assert 1 in decoded and "1 of 10 test videos could not be read" in said


def test_each_of_several_tests_has_its_own_parts(configured) -> None:
    numbers = ("TEST.NUM_TEMPORAL_CLIPS", "[1, 2]")
    config, whole = configured("run", *numbers), configured("whole", *numbers)
    one_test(World(), whole)
    _, decoded, _ = one_test(World(), config, 0, 16)  # in the second test
    assert decoded[:10] == list(range(10))
    assert kept(config, "predictions/1_clip") == list(range(10))
    finished = kept(config, "predictions/2_clips")
    _, decoded, _ = one_test(World(), config)
    assert decoded == sorted(set(range(10)) - set(finished))
    assert_same_results(config, whole)
    assert parts_of(config) == [] and not list(Path(config.OUTPUT_DIR).rglob("unfinished"))


def test_a_full_disk_is_one_sentence(configured, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise UserError("clips.csv cannot be written: No space left on device")

    config = configured("run")
    with monkeypatch.context() as patch:
        patch.setattr(clips, "write_csv", full)
        assert one_test(World(), config)[2] == "UserError: clips.csv cannot be written: No space left on device"
    assert one_test(World(), config)[1] == []  # all are finished
    assert (Path(config.OUTPUT_DIR) / "metrics.json").exists()


# Validations


def test_a_validation_is_stopped_and_done_again(configured) -> None:
    config = configured("run", "SOLVER.MAX_EPOCH", "1", "TRAIN.EVAL_PERIOD", "1")
    with decoding(3) as decoded, pytest.raises(Stopped) as stopped:
        run_training(config, CPU)
    assert stopped.value.status == 143 and len(decoded) < 8
    root = Path(config.OUTPUT_DIR)
    assert len(list((root / "checkpoints").iterdir())) == 1 and parts_of(config) == []
    with decoding() as decoded:
        run_training(config, CPU)
    assert decoded == list(range(8))
    kinds = [json.loads(line)["kind"] for line in (root / "log.jsonl").read_text().splitlines()]
    assert kinds.count("val") == 1


def test_the_request_of_a_training_reaches_its_validation(configured) -> None:
    config = configured("run", *("TEST.SAVE_PROBABILITIES", "False"))
    with StopRequest() as stop, decoding(2) as decoded, pytest.raises(Stopped, match="stopped by SIGTERM"):
        evaluate_videos(
            config,
            build_model(config),
            videos_of(config, "test"),
            view_protocol(config),
            CPU,
            "float32",
            "validation",
            stop_signal=lambda: stop.number,
        )
    assert decoded == [0, 1]
