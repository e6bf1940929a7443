"""Who takes a machine back: SIGTERM and SIGUSR1 end a training with a checkpoint, and no error."""

import signal
from pathlib import Path

import pytest
import torch

from slowfast_mvit.data.clips import TrainClips
from slowfast_mvit.engine.checkpoint import list_checkpoints
from tests.commands import finish, run_here, signalled, small_config, start_net, wait_for_step

TRAINING = ("TEST.ENABLE", "False", "LOG_PERIOD", "1", "TRAIN.BATCH_SIZE", "4", "SOLVER.MAX_EPOCH", "3")  # of 6 steps


def weights(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "checkpoints" / "checkpoint_epoch_00003.pyth", weights_only=True)["model_state"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, toy_data: Path) -> dict[str, torch.Tensor]:
    """Weights of a training that nobody disturbs."""
    folder = tmp_path_factory.mktemp("whole")
    assert run_here(small_config(folder, toy_data), *TRAINING) == 0
    return weights(folder / "run")


def assert_stopped_and_goes_on(
    number: signal.Signals,
    status: int,
    said: str,
    config: Path,
    whole: dict[str, torch.Tensor],
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The training in ``config``'s folder ended with a checkpoint inside the second epoch, and leads to the same weights."""
    run = config.parent / "run"
    assert status == 128 + number, said
    checkpoint = list_checkpoints(run / "checkpoints")[-1]
    assert checkpoint.name.startswith("checkpoint_epoch_00001_step_") and "Traceback" not in said
    assert said.splitlines()[-1] == (
        f"stopped by {number.name}: {checkpoint} is written; start the same command again to go on from there"
    )
    capfd.readouterr()
    assert run_here(config, *TRAINING) == 0
    assert f"of epoch 2 from {checkpoint}" in capfd.readouterr().err
    found = weights(run)
    assert all(torch.equal(found[name], whole[name]) for name in whole)


def test_sigterm_ends_a_training_with_a_checkpoint(
    config_file: Path, tmp_path: Path, whole: dict[str, torch.Tensor], capfd: pytest.CaptureFixture[str]
) -> None:
    process = start_net(config_file, *TRAINING)
    wait_for_step(process, tmp_path / "run", 8)
    process.terminate()
    assert_stopped_and_goes_on(signal.SIGTERM, *finish(process), config_file, whole, capfd)


def test_sigusr1_ends_a_training_with_a_checkpoint(
    config_file: Path,
    whole: dict[str, torch.Tensor],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Sent to this process, while it reads the 30th video: step 8."""
    plain, read = TrainClips.__getitem__, []

    def stopped(*arguments):
        read.append(1)
        if len(read) == 30:
            signal.raise_signal(signal.SIGUSR1)
        return plain(*arguments)

    monkeypatch.setattr(TrainClips, "__getitem__", stopped)
    status = run_here(config_file, *TRAINING)
    assert_stopped_and_goes_on(signal.SIGUSR1, status, capfd.readouterr().err, config_file, whole, capfd)


def test_a_signal_to_any_rank_or_to_the_command_ends_all_with_a_checkpoint(
    config_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """One run of two ranks, in which rank 0, then rank 1, then the command that has started them is signalled."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    training = (*TRAINING, "SOLVER.MAX_EPOCH", "30", "NUM_PROCESSES", "2")
    run, before = tmp_path / "run", ""
    for rank, step in ((0, 2), (1, 8), (None, 14)):
        if rank is None:
            process = start_net(config_file, *training)
            wait_for_step(process, run, step)
            process.terminate()
            status, said = finish(process)
        else:
            with signalled(run, step, rank, signal.SIGTERM):
                status = run_here(config_file, *training)
            said = capfd.readouterr().err
        assert status == 128 + signal.SIGTERM, said
        checkpoint = list_checkpoints(run / "checkpoints")[-1]
        assert said.count(f"stopped by SIGTERM: {checkpoint} is written") == 1 and "Traceback" not in said, said
        assert not before or said.count(f" from {before}\n") == 1, said
        before = str(checkpoint)
