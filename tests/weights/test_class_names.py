"""Class names and their order, against the published number of some classes."""

import subprocess
import sys

import pytest

from slowfast_mvit.errors import UserError
from slowfast_mvit.weights.class_names import class_names


@pytest.mark.parametrize("spelling", ["Kinetics-400", "kinetics_400", "k400", "Kinetics 400"])
def test_kinetics_in_the_order_of_pyslowfast(spelling: str) -> None:
    names = class_names(spelling)
    assert len(set(names)) == len(names) == 400
    assert list(names) == sorted(names)
    # Numbers of PySlowFast's kinetics_classnames.json.
    numbered = {
        "abseiling": 0,
        "clean and jerk": 59,
        "eating ice cream": 115,
        "hammer throw": 148,
        "hurling (sport)": 161,
        "massaging person's head": 196,
        "passing American football (in game)": 208,
        "passing American football (not in game)": 209,
        "petting animal (not cat)": 212,
        "sharpening knives": 290,
        "skiing (not slalom or crosscountry)": 308,
        "using remote controller (not gaming)": 374,
        "zumba": 399,
    }
    assert {name: names.index(name) for name in numbered} == numbered


@pytest.mark.parametrize("spelling", ["ImageNet-1K", "in1k", "imagenet"])
def test_imagenet(spelling: str) -> None:
    names = class_names(spelling)
    assert len(set(names)) == len(names) == 1000
    assert [names[i] for i in (0, 1, 207, 281, 999)] == [
        "tench",
        "goldfish",
        "golden retriever",
        "tabby",
        "toilet tissue",
    ]


@pytest.mark.parametrize("dataset", ["ssv2", "Something-Something v2", "k600", ""])
def test_names_that_nobody_ships(dataset: str) -> None:
    with pytest.raises(UserError, match="only those of Kinetics-400 and ImageNet-1K: read them from the dataset"):
        class_names(dataset)


def test_torchvision_is_loaded_only_when_names_are_asked_for() -> None:
    code = "import sys, slowfast_mvit.weights.class_names; print('torchvision' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
