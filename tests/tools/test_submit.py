"""Jobs of Slurm, on submitit's executor of this machine."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import submit

from slowfast_mvit.engine.checkpoint import list_checkpoints
from tests.commands import ROOT, finish, start, wait_for_step

TRAINING = ("TEST.ENABLE", "False", "LOG_PERIOD", "1", "SOLVER.MAX_EPOCH", "8", "TRAIN.BATCH_SIZE", "4")


def test_an_interrupted_job_is_queued_again_and_goes_on(config_file: Path, tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    jobs = tmp_path / "jobs"
    command = ("--local", "--folder", str(jobs), "--cfg", str(config_file), *TRAINING)
    process = start(sys.executable, str(ROOT / "tools" / "submit.py"), *command)
    wait_for_step(process, tmp_path / "run", 3)
    # What Slurm does; submitit's own hook signals the controller of its local jobs, which does not pass it on.
    task = subprocess.run(["pgrep", "-f", f"submitit.core._submit {jobs}"], capture_output=True, text=True).stdout
    os.kill(int(task), signal.SIGUSR2)
    status, told = finish(process)
    said = "".join(path.read_text() for path in jobs.glob("*_log.err"))
    assert status == 0, told + said
    assert said.count("stopped by SIGUSR1: ") == 1 and said.count("going on after step") == 1, said
    assert said.index("stopped by SIGUSR1: ") < said.index("going on after step")
    assert list_checkpoints(tmp_path / "run" / "checkpoints")[-1].name == "checkpoint_epoch_00008.pyth"


def test_a_job_that_fails(
    config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("submitit")
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tools"))  # where the job's process finds what is pickled
    options = ("--local", "--folder", str(tmp_path / "jobs"), "--gpus", "0")
    assert submit.main([*options, "--cfg", str(config_file), "DATA.PATH_TO_DATA_DIR", "/nowhere"]) == 1
    assert "failed: see " in capsys.readouterr().err
    said = "".join(path.read_text() for path in (tmp_path / "jobs").glob("*_log.err"))
    assert "/nowhere" in said and "run_net.py ended with status 2" in said


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--nodes", "2"], "no config given"),
        (["--local", "--nodes", "2", "--cfg", "x.yaml"], "--local is this machine alone"),
    ],
)
def test_mistakes(argv: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert submit.main(argv) == 2
    assert said in capsys.readouterr().err


def test_a_mistake_is_said_before_anything_is_submitted(
    config_file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    given = ("--local", "--folder", str(tmp_path / "jobs"), "--cfg", str(config_file), "TRAIN.BACH_SIZE", "3")
    assert submit.main(given) == 2
    assert "did you mean TRAIN.BATCH_SIZE" in capfd.readouterr().err and not (tmp_path / "jobs").exists()


def test_no_slurm_here(
    config_file: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert submit.main(["--folder", str(tmp_path), "--cfg", str(config_file)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.endswith("; submit on a login node of the cluster, or take --local\n")


def test_machines_of_a_job() -> None:
    job = SimpleNamespace(num_nodes=4, node=2, job_id="4711_3", hostnames=["node7", "node8", "node9", "node11"])
    assert submit.machine_arguments(job) == [
        "--num_shards", "4", "--shard_id", "2", "--init_method", "tcp://node7:27113",
    ]  # fmt: skip
    job.num_nodes = 1
    assert submit.machine_arguments(job) == []


def test_what_slurm_is_asked_for() -> None:
    argv = ["--nodes", "4", "--gpus", "8", "--hours", "1.5", "--partition", "video", "--cfg", "x.yaml", "KEY", "1"]
    args, rest = submit._parser().parse_known_args(argv)
    assert rest == ["--cfg", "x.yaml", "KEY", "1"]
    assert submit._resources(args) == {
        "name": "mvit", "nodes": 4, "tasks_per_node": 1, "gpus_per_node": 8, "timeout_min": 90,
        "slurm_partition": "video", "slurm_signal_delay_s": 300,
    }  # fmt: skip
