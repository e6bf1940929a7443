"""A folder that is made once: kept when complete, made again otherwise, never over somebody else's data."""

from dataclasses import dataclass

import pytest

from slowfast_mvit.data.toy_folder import make_once, refuse_odd, run_jobs
from slowfast_mvit.errors import UserError


@dataclass(frozen=True)
class Toy:
    count: int = 3


def make(root, toy, version=1, fails=False):
    """Whether the set was made by this call."""
    made = []

    def write():
        if fails:
            raise OSError("the disk is full")
        (root / "train.csv").write_text(str(toy.count))
        made.append(True)

    assert make_once(root, "toy.json", version, toy, ["*.csv"], write) == root
    return bool(made)


def test_a_complete_set_of_the_same_parameters_is_kept(tmp_path):
    root = tmp_path / "new" / "folder"
    assert make(root, Toy()) and not make(root, Toy())
    assert make(root, Toy(count=4)) and (root / "train.csv").read_text() == "4"
    assert make(root, Toy(count=4), version=2)


def test_an_interrupted_set_is_made_again(tmp_path):
    make(tmp_path, Toy())
    with pytest.raises(OSError, match="full"):
        make(tmp_path, Toy(count=4), fails=True)
    assert make(tmp_path, Toy())


def test_another_data_set_is_left_alone(tmp_path):
    (tmp_path / "val.csv").write_text("mine")
    with pytest.raises(UserError, match=r"holds val\.csv of another dataset"):
        make(tmp_path, Toy())
    assert [path.name for path in tmp_path.iterdir()] == ["val.csv"]


def touch(path):
    path.touch()


def test_every_job_is_done(tmp_path):
    paths = [tmp_path / str(number) for number in range(40)]
    run_jobs(touch, paths, processes=2)
    assert all(path.exists() for path in paths)


@pytest.mark.parametrize("extent", [(80, 97), (81, 96)])
def test_odd_extents_are_refused(extent):
    refuse_odd(80, 96)
    with pytest.raises(UserError, match="need even extents, not {}x{}".format(*extent)):
        refuse_odd(*extent)
