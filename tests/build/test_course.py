"""What goes on around the steps of a training that is stopped: in real trainings, by real signals."""

import os
import signal
from pathlib import Path

import pytest
import torch

from slowfast_mvit.build.course import TrainingCourse
from slowfast_mvit.build.train import run_training
from slowfast_mvit.config.load import load_config
from slowfast_mvit.engine.checkpoint import list_checkpoints
from slowfast_mvit.engine.stopping import Stopped

CPU = torch.device("cpu")


def stop_at_call(monkeypatch: pytest.MonkeyPatch, name: str, number: int) -> None:
    """SIGTERM at the end of the given call of a method of the course, from 1; it is heard at the next step."""
    work, calls = getattr(TrainingCourse, name), []

    def called(*arguments: object) -> None:
        work(*arguments)
        calls.append(name)
        if len(calls) == number:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(TrainingCourse, name, called)


def test_a_checkpoint_of_shorter_epochs_is_the_newest(
    config_file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """24 videos: step 6 of 12 with batches of 2 is step 3 of 6 with batches of 4, and step 5 of 6 comes after it."""

    def stopped(batch: int, after: int) -> str:
        config = load_config(str(config_file), ["TRAIN.BATCH_SIZE", str(batch)])
        with monkeypatch.context() as patched, pytest.raises(Stopped):
            stop_at_call(patched, "after_update", after)
            run_training(config, CPU)
        (path,) = list_checkpoints(Path(config.OUTPUT_DIR) / "checkpoints")
        return path.name

    assert stopped(2, 5) == "checkpoint_epoch_00000_step_00000006.pyth"
    assert stopped(4, 1) == "checkpoint_epoch_00000_step_00000005.pyth"
    with caplog.at_level("INFO"):
        run_training(load_config(str(config_file), ["TRAIN.BATCH_SIZE", "4", "SOLVER.MAX_EPOCH", "1"]), CPU)
    assert any(message.startswith("going on after step 5 of epoch 1 from ") for message in caplog.messages)


def test_a_signal_after_the_last_step_is_heeded(config_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that follows would be cut off without it."""
    config = load_config(str(config_file), ["SOLVER.MAX_EPOCH", "1"])
    with (
        monkeypatch.context() as patched,
        pytest.raises(Stopped, match="SIGTERM: the training is over; start") as stopped,
    ):
        stop_at_call(patched, "after_epoch", 1)
        run_training(config, CPU)
    assert stopped.value.status == 143
    assert run_training(config, CPU).name == "checkpoint_epoch_00001.pyth"


def test_an_epoch_keeps_its_means_however_often_it_is_gone_on_from(
    config_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped at the last step of an epoch, then by SIGKILL after its validation."""
    config = load_config(str(config_file), ["TRAIN.EVAL_PERIOD", "1"])
    with monkeypatch.context() as patched, pytest.raises(Stopped):
        stop_at_call(patched, "after_update", 2)  # of 3 steps: it is heard at the third
        run_training(config, CPU)
    (path,) = list_checkpoints(Path(config.OUTPUT_DIR) / "checkpoints")
    assert path.name == "checkpoint_epoch_00001.pyth"
    epochs, seen = Path(config.OUTPUT_DIR) / "epochs.csv", []
    for _ in range(2):
        with monkeypatch.context() as patched, pytest.raises(InterruptedError):
            patched.setattr(TrainingCourse, "after_update", killed)
            run_training(config, CPU)
        seen.append(epochs.read_text())
    assert seen[0] == seen[1] and seen[0].startswith("epoch,loss,") and "val_top1_acc" in seen[0]


def test_the_checkpoint_gone_on_from_stays_until_there_is_another(config_file: Path) -> None:
    """With one to keep, where the newest is damaged, and where it is of epochs that are no longer wanted."""
    settings = ["TRAIN.EVAL_PERIOD", "9", "TRAIN.CHECKPOINT_PERIOD", "1", "TRAIN.KEEP_CHECKPOINTS"]
    run_training(load_config(str(config_file), [*settings, "2"]), CPU)
    first, second = list_checkpoints(config_file.parent / "run" / "checkpoints")
    second.write_bytes(second.read_bytes()[:1000])
    found = run_training(load_config(str(config_file), [*settings, "1", "SOLVER.MAX_EPOCH", "1"]), CPU)
    assert found == first and first.exists()


def killed(course: TrainingCourse) -> None:
    raise InterruptedError
