"""A training in words and rows, by hand."""

from pathlib import Path

import pandas as pd

from slowfast_mvit.report.files import RunFiles, read_run
from slowfast_mvit.report.training import MOST_EPOCHS, training_of


def test_a_training_by_hand() -> None:
    steps = pd.DataFrame(
        {"epoch": [1, 2], "step": [5, 10], "loss": [2.0, 1.0], "lr": [0.1, 0.2], "time": [0.0, 3723.0]}
    )
    epochs = pd.DataFrame(
        {
            "epoch": [1, 2, 3],
            "loss": [2, 1, 0.5],
            "val_top1_acc": [None, 40.0, 30.0],
            "val_num_unreadable": [None, 0, 1],
        }
    )
    found = training_of(RunFiles(Path(), epochs=epochs, steps=steps))
    assert found is not None
    assert [curve.title for curve in found.curves] == ["Loss", "Learning rate", "Validation top-1"]
    assert found.curves[0].points() == [(5, 2), (10, 1)] and found.curves[2].points() == [(2, 40), (3, 30)]
    assert found.heads == ("epoch", "loss", "validation top-1 %", "validation num unreadable")
    assert found.rows == (("1", "2", "", ""), ("2", "1", "40.00", "0"), ("3", "0.5", "30.00", "1"))
    assert found.sentences == (
        "3 epochs are trained; the log goes to step 10.",
        "Logged from 1970-01-01 00:00 to 1970-01-01 01:02 UTC, 1:02:03 in all, with the time between resumptions.",
        "The best validation is of epoch 2: top-1 40.00 %.",
    )


def test_many_epochs() -> None:
    found = training_of(RunFiles(Path(), epochs=pd.DataFrame({"epoch": range(1, 1001), "loss": 1.0})))
    assert found is not None and (len(found.rows), found.left_out) == (MOST_EPOCHS, 1000 - MOST_EPOCHS)
    assert found.rows[-1][0] == "1000" and found.curves == ()


def test_what_was_asked_for(finished_run: Path) -> None:
    found = training_of(read_run(finished_run))
    assert found is not None and found.sentences[0].startswith("2 epochs are trained, of 2 epochs that are asked for; ")


def test_nothing_trained() -> None:
    assert training_of(RunFiles(Path())) is None
    assert training_of(RunFiles(Path(), steps=pd.DataFrame({"step": []}))) is None
