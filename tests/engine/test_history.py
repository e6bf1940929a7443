"""Rows of epochs, the best of them, and the file that they are written to."""

import math

from slowfast_mvit.engine.history import History, read_metrics


def rows():
    history = History()
    history.add(1, {"loss": 2.0, "lr": 1e-4})
    history.validated(1, {"top1_acc": 30.0, "top5_acc": 90.0, "num_unreadable": 0})
    history.add(2, {"loss": 1.5, "lr": 2e-4})
    history.add(3, {"loss": 1.25, "lr": 1e-5})
    history.validated(3, {"top1_acc": 40.0, "top5_acc": 80.0, "num_unreadable": 1})
    return history


def test_the_best_epoch_is_by_the_first_metric_and_the_earliest_of_equals():
    history = rows()
    assert History().best() is None and History([{"epoch": 1, "loss": 1.0}]).best() is None
    assert history.best() == (3, "top1_acc", 40.0)
    history.validated(4, {"top1_acc": 40.0, "top5_acc": 99.0})
    history.validated(5, {"top1_acc": math.nan, "top5_acc": 99.0})
    assert history.best() == (3, "top1_acc", 40.0)
    assert [history.is_validated(epoch) for epoch in (1, 2, 3, 9)] == [True, False, True, False]


def test_the_file(tmp_path):
    path = tmp_path / "epochs.csv"
    rows().write(path)
    assert path.read_text() == (
        "epoch,loss,lr,val_top1_acc,val_top5_acc,val_num_unreadable\n"
        "1,2,0.0001,30,90,0\n2,1.5,0.0002,,,\n3,1.25,1e-05,40,80,1\n"
    )
    assert read_metrics(path, 3) == {"top1_acc": 40.0, "top5_acc": 80.0, "num_unreadable": 1.0}
    assert read_metrics(path, 2) == read_metrics(path, 4) == read_metrics(tmp_path / "none.csv", 1) == {}
    path.write_text("made,by\nsomebody,else\n")
    assert read_metrics(path, 1) == {}


def test_an_epoch_that_was_validated_first_gets_its_means():
    history = History()
    history.validated(1, {"top1_acc": 30.0})
    assert not history.is_trained(1)
    history.add(1, {"loss": 2.0})
    assert history.rows == {1: {"epoch": 1, "loss": 2.0, "val_top1_acc": 30.0}}
    assert history.is_trained(1) and history.is_validated(1) and not history.is_trained(2)


def test_metrics_come_back_to_the_last_bit(tmp_path):
    """Else an equal one of a later epoch is better by what rounding took."""
    path, third = tmp_path / "epochs.csv", 100.0 / 3
    history = History()
    history.validated(1, {"top1_acc": third})
    history.write(path)
    assert read_metrics(path, 1) == {"top1_acc": third}


def test_a_history_goes_through_a_checkpoint():
    history = rows()
    assert History(history.as_list()).rows == history.rows and [row["epoch"] for row in history.as_list()] == [1, 2, 3]
