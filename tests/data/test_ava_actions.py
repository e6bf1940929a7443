"""Which output of a model an action of a list is."""

import pytest

from slowfast_mvit.data.ava_actions import actions_of
from slowfast_mvit.data.ava_csv import read_boxes
from slowfast_mvit.errors import UserError


@pytest.fixture
def write(tmp_path):
    def write(name, text):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def test_actions_by_label_map(write):
    actions = actions_of(4, label_map={1: "walk", 3: "sit"})
    assert actions.names == ("walk", "", "sit", "")
    rows = read_boxes(write("t.csv", "a,1,0,0,1,1,4\na,1,0,0,1,1,sit\na,1,0,0,1,1,-1\n"), detected=False)
    assert actions.columns(rows).tolist() == [3, 2, -1]


def test_actions_by_the_lists(write):
    some = read_boxes(write("some.csv", "a,1,0,0,1,1,sit\na,1,0,0,1,1,run\n"), detected=False)
    others = read_boxes(write("others.csv", "a,1,0,0,1,1,walk\na,1,0,0,1,1,\n"), detected=False)
    actions = actions_of(3, named_in=[some, others])
    assert actions.names == ("run", "sit", "walk")
    assert actions.columns(some).tolist() == [1, 0]
    assert actions.columns(others).tolist() == [2, -1]
    numbers = read_boxes(write("numbers.csv", "a,1,0,0,1,1,2\n"), detected=False)
    assert actions_of(2, named_in=[numbers]).names == ("", "")
    floats = read_boxes(write("floats.csv", "a,1,0,0,1,1,2.0\na,1,0,0,1,1,10.0\na,1,0,0,1,1,\n"), detected=False)
    assert actions_of(10, named_in=[floats]).columns(floats).tolist() == [1, 9, -1]
    assert actions_of(2, names=("x", ""), label_map={1: "x", 2: "y"}).names == ("x", "")
    with pytest.raises(UserError, match="mix names of actions \\(run, sit\\) with numbers \\(2\\)"):
        actions_of(3, named_in=[some, numbers])
    with pytest.raises(UserError, match=r"name 2 actions, and MODEL.NUM_CLASSES is 80: set it so"):
        actions_of(80, named_in=[some])


def test_label_maps_that_do_not_fit():
    with pytest.raises(UserError, match=r"has an action 80, and MODEL.NUM_CLASSES is 60: set it to at least 80"):
        actions_of(60, label_map={80: "watch"})
    with pytest.raises(UserError, match=r"there are 2 names of actions, and MODEL.NUM_CLASSES is 3"):
        actions_of(3, names=("a", "b"))
    with pytest.raises(UserError, match=r"has an action 3, and MODEL.NUM_CLASSES is 2"):
        actions_of(2, names=("a", "b"), label_map={3: "c"})
    with pytest.raises(
        UserError, match=r"calls action 2 'a', and the model was trained with 'b' there: set AVA.LABEL_MAP"
    ):
        actions_of(2, names=("a", "b"), label_map={1: "a", 2: "a"})
