"""The benchmark: sides really run in processes of their own and in turn, and the report says what was measured."""

import json
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from unittest import mock

import pytest
import torch
from torch._inductor import freezing

from slowfast_mvit.benchmark.decoding import make_our_views, make_seeking_views, write_videos
from slowfast_mvit.benchmark.networks import (
    backbone,
    make_compiled_forward,
    make_forward,
    make_training_step,
    ours,
    plain_backbone,
    plain_formula,
    torchvision_s,
)
from slowfast_mvit.benchmark.report import Measured, as_json, table
from slowfast_mvit.benchmark.rows import NETWORK_SUITES, SUITES, Place, Row, rows_of
from slowfast_mvit.benchmark.scoring import make_our_evaluator, make_plain_evaluator
from slowfast_mvit.benchmark.sides import Process, Side, Timing, time_sides
from slowfast_mvit.engine import huge_pages
from slowfast_mvit.errors import UserError

ROOT = Path(__file__).parents[2]


def writes(path, letter):
    """Work that leaves a letter in a file."""

    def work():
        with Path(path).open("a") as file:
            file.write(letter)
        time.sleep(0.01)

    return work


def fails():
    raise ValueError("no such thing")


def test_sides_run_in_turn(tmp_path):
    path = tmp_path / "order"
    sides = [Side("a", partial(writes, path, "a")), Side("b", partial(writes, path, "b"))]
    first, second = time_sides(sides, runs=3, warmup=1, process=Process(threads=1))
    assert path.read_text() == "baabbaab"
    assert (first.name, second.name) == ("a", "b") and len(first.seconds) == len(second.seconds) == 3
    assert all(seconds >= 0.01 for seconds in first.seconds + second.seconds)
    assert 10 * 2**20 < first.idle_bytes <= first.peak_bytes


def test_a_side_that_fails_is_named():
    with pytest.raises(UserError, match="broken cannot be measured: ValueError: no such thing"):
        time_sides([Side("broken", fails)], runs=1, process=Process(threads=1))


def needs_huge_pages(kept):
    assert (huge_pages._Kept.heap is not None) is kept
    return lambda: None


@pytest.mark.parametrize("kept", [False, True])
def test_all_sides_have_huge_pages_or_none(kept):
    if kept and huge_pages.hindrance():
        pytest.skip(huge_pages.hindrance())
    sides = [Side(name, partial(needs_huge_pages, kept)) for name in "ab"]
    time_sides(sides, runs=1, process=Process(threads=1, huge_pages=kept))


def test_huge_pages_that_cannot_be_had(monkeypatch):
    monkeypatch.setenv(huge_pages.SWITCH, "0")
    with pytest.raises(UserError, match="a cannot be measured: no huge pages: "):
        time_sides([Side("a", fails)], runs=1, process=Process(threads=1, huge_pages=True))


def timing(name, *seconds, peak=100):
    return Timing(name, seconds, peak_bytes=peak * 2**20, idle_bytes=25 * 2**20)


def test_the_table_by_hand():
    row = Row("work", Side("ours", fails), Side("peer", fails), items=8, flops=4e9, goal=1.5, memory_goal=0.75)
    # A product of 4096 in 0.5 s is 274.9 GFLOP/s; ours 4 G in 0.02 s is 200.
    measured = Measured(row, timing("ours", 0.03, 0.02, 0.01), timing("peer", 0.05, peak=200), timing("limit", 0.5))
    assert measured.ratio == pytest.approx(2.5) and measured.memory_ratio == 0.5
    line = table([measured]).splitlines()[2]
    cells = ["work", "20 ms", "50 ms (peer)", "2.50", "1.5", "400", "200", "73%"]
    cells += ["100 MiB", "0.50 (goal 0.75)", "75 MiB", "0.43"]
    assert [cell.strip() for cell in line.strip("|").split("|")] == cells
    (entry,) = json.loads(as_json([measured], Process(threads=2)))["rows"]
    assert entry["ours"]["seconds"] == [0.03, 0.02, 0.01] and entry["ours"]["median"] == 0.02


def test_rows_of_every_suite_can_be_sent_to_a_process(tmp_path):
    import pickle

    for suite in SUITES:
        rows = rows_of(suite, tmp_path)
        assert rows
        for row in rows:
            for side in (row.ours, row.peer):
                assert side is None or pickle.loads(pickle.dumps(side)).name == side.name


def test_rows_of_another_batch_and_device(tmp_path):
    def numbers(row):
        return row.items, row.flops, row.device, row.ours.make.args[1][0], row.ours.make.args[3]

    for suite in NETWORK_SUITES:
        for own, row in zip(rows_of(suite, tmp_path), rows_of(suite, tmp_path, Place("cuda", 3)), strict=True):
            assert row.title == own.title.replace(f"batch {own.items}", "batch 3") and "batch 3" in row.title
            assert numbers(row) == (3, own.flops / own.items * 3, "cuda", 3, "cuda")
            assert numbers(own)[2::2] == ("cpu", "cpu")
            for side in (row.ours, row.peer):
                assert side is None or side.make.args[1:] == row.ours.make.args[1:]  # both do the same


def test_what_the_rows_compare(tmp_path):
    (compiled,) = rows_of("compile", tmp_path)
    assert (compiled.ours.make.func, compiled.peer.make.func) == (make_compiled_forward, make_forward)
    forward, large = (next(row for row in rows_of("model", tmp_path) if row.title.startswith(name)) for name in "SL")
    assert (forward.goal, large.goal, large.memory_goal, large.most_runs) == (1.35, 1.5, 0.5, 3)
    assert forward.flops / 2 == pytest.approx(64.2e9, rel=0.01)
    for step, precision, goal in zip(rows_of("train", tmp_path), ("float32", "bfloat16"), (1.5, 2.0), strict=True):
        assert step.flops == 3 * 2 * forward.flops and (step.precision, step.goal) == (precision, goal)
        assert step.ours.make.func is step.peer.make.func is make_training_step
    growth = rows_of("growth", tmp_path)
    assert [row.ours.make.args[0].keywords for row in growth] == [
        {"num_frames": frames, "crop_size": side}
        for frames, side in ((8, 224), (16, 224), (32, 224), (16, 160), (16, 312))
    ]


def test_networks_that_are_compared_compute_the_same_shapes():
    shape = (1, 3, 4, 32, 32)
    small = {"num_classes": 5, "num_frames": 4, "crop_size": 32}
    mine = make_forward(partial(ours, "mvitv2_s_16x4", **small), shape, "float32")()
    plain = make_forward(partial(plain_formula, "mvitv2_s_16x4", **small), shape, "float32")()
    torch.testing.assert_close(mine, plain, rtol=1e-4, atol=1e-4)  # the same seed, so the same weights
    rough = make_forward(partial(ours, "mvitv2_s_16x4", **small), shape, "bfloat16")()
    assert rough.dtype == torch.bfloat16
    step = make_training_step(partial(ours, "mvitv2_s_16x4", **small), (2, *shape[1:]), "float32")
    assert step() > step()
    assert sum(p.numel() for p in torchvision_s().parameters()) == 34_537_744


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a compiler")
def test_a_compiled_network_computes_the_same():
    build, shape = partial(torch.nn.Linear, 4, 3), (5, 4)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    with mock.patch("torch._inductor.freezing.freeze", wraps=freezing.freeze) as freeze:
        compiled = make_compiled_forward(build, shape, "float32")()
    assert freeze.call_count == 1  # the weights are packed
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    torch.testing.assert_close(compiled, make_forward(build, shape, "float32")())  # the same seed, so the same weights


def test_both_backbones_give_the_same_maps():
    mine, plain = (
        make_forward(partial(make, "mvitv2_t"), (1, 3, 64, 96), "float32")() for make in (backbone, plain_backbone)
    )
    assert list(mine) == list(plain) == ["scale2", "scale3", "scale4", "scale5"]
    for name in mine:
        torch.testing.assert_close(mine[name], plain[name], rtol=1e-4, atol=1e-4)


def test_views_of_both_readers(tmp_path):
    write_videos(tmp_path, 1)
    (frames,) = make_our_views(tmp_path)()
    (views,) = make_seeking_views(tmp_path)()
    assert len(views) == 15 and views[0].shape == (16, 256, 340, 3)
    # The first clip begins with the first frame for both.
    assert (torch.from_numpy(views[0][0]) == frames[0]).all()


def test_both_evaluators_agree():
    assert make_our_evaluator()() == pytest.approx(make_plain_evaluator()(), abs=1e-4)


def test_the_command(tmp_path):
    command = [
        sys.executable,
        "tools/benchmark.py",
        "eval",
        "--runs",
        "1",
        "--threads",
        "1",
        "--json",
        str(tmp_path / "b.json"),
    ]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert "| joining the scores of 5 x 3 views, 400 classes |" in found.stdout
    assert json.loads((tmp_path / "b.json").read_text())["machine"]["threads"] == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--rows", "zzz"], "no row of eval holds 'zzz' in its title"),
        (["--runs", "0"], "--runs 0 must be at least 1"),
        (["model", "--batch", "0"], "--batch 0 must be at least 1"),
        (
            ["model", "--batch", "2"],
            "--device and --batch are for networks (model, compile, backbone, train, growth): leave eval",
        ),
        (["--device", "cuda"], "leave eval out"),
    ],
)
def test_nothing_to_measure(arguments, said):
    command = [sys.executable, "tools/benchmark.py", "eval", *arguments]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 2 and said in found.stderr and "Traceback" not in found.stderr


def _nothing():
    return lambda: None


def test_memory_is_that_of_the_side_and_not_of_its_parent():
    ballast = bytearray(b"1" * 2**30)
    (side,) = time_sides([Side("small", _nothing)], runs=1, process=Process(threads=1))
    assert side.peak_bytes < len(ballast)
