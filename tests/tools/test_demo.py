"""demo.py: every recipe is run on its own data, and one that falls short makes it fail."""

from pathlib import Path

import demo
import pandas as pd
import pytest

from slowfast_mvit.config.load import load_config

ALL = (demo.ORDER, demo.IMAGES, demo.THINGS, demo.THINGS_FRESH)


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Replaces data and training: gives (the accuracies that runs come to, the commands that were given)."""
    monkeypatch.chdir(tmp_path)
    accuracies = {"toy_ssv2": 0.95, "toy_imagenet": 0.93, "toy_things": 0.92, "toy_things_fresh": 0.4, "toy": 0.97}
    given = []
    for make in ("make_toy_set", "make_toy_ssv2", "make_toy_images", "make_toy_things"):
        monkeypatch.setattr(demo, make, lambda root, toy: given.append(("make", root)))

    def run(argv):
        given.append(tuple(argv))
        output = Path(argv[argv.index("OUTPUT_DIR") + 1])
        right = round(100 * accuracies[output.name])
        table = pd.DataFrame({"label": [1] * 100, "top1": [1] * right + [0] * (100 - right)})
        table = table.assign(video="v", label_name="a", top1_name="a", top1_score=1.0)
        (output / "predictions").mkdir(parents=True)
        table.to_csv(output / "predictions" / "videos.csv")
        return 0

    monkeypatch.setattr(demo.run_net, "main", run)
    return accuracies, given


def test_all_print_their_figures(runs, capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.main(["--all"]) == 0
    said = capsys.readouterr().out
    for figure in (
        "95.0% of 100 right: the order",
        "93.0%",
        "92.0%",
        "40.0% of 100 right: the same from fresh weights",
    ):
        assert figure in said
    commands = [command for command in runs[1] if command[0] == "--cfg"]
    assert [command[1] for command in commands] == [f"configs/Toy/{each.config}" for each in ALL]
    fresh = commands[-1]
    assert fresh[fresh.index("TRAIN.CHECKPOINT_FILE_PATH") + 1] == ""
    assert fresh[fresh.index("DATA.PATH_TO_DATA_DIR") + 1] == str(Path("runs/toy_things/data"))


@pytest.mark.parametrize(
    ("name", "accuracy", "said"),
    [
        ("toy_ssv2", 0.5, "error: 50.0% right is less than the 90% that MVITV2_TOY_SSV2_8x4.yaml reaches"),
        ("toy_imagenet", 0.1, "error: 10.0% right is less than"),
        ("toy_things_fresh", 0.95, "error: image weights have not helped the video model"),
    ],
)
def test_a_figure_that_falls_short(runs, name: str, accuracy: float, said: str, capsys) -> None:
    runs[0][name] = accuracy
    assert demo.main(["--all"]) == 1
    assert said in capsys.readouterr().err


def test_a_run_that_fails_ends_it(runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo.run_net, "main", lambda argv: 2)
    assert demo.main(["--all"]) == 2 and demo.main([]) == 2


def test_the_motion_toy_alone(runs, capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.main([]) == 0
    assert "97.0% of 100 held-out videos right" in capsys.readouterr().out
    assert len([command for command in runs[1] if command[0] == "--cfg"]) == 1


@pytest.mark.slow
def test_all_for_real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "configs").symlink_to(Path(__file__).parents[2] / "configs")
    monkeypatch.chdir(tmp_path)
    assert demo.main(["--all"]) == 0


@pytest.mark.parametrize("each", (demo.MOTION, *ALL), ids=lambda each: each.output.name)
def test_recipes_write_where_the_demo_looks(each) -> None:
    config = load_config(Path(__file__).parents[2] / "configs" / "Toy" / each.config)
    if each is not demo.THINGS_FRESH:
        assert str(each.output) == config.OUTPUT_DIR and str(each.output / "data") == config.DATA.PATH_TO_DATA_DIR
    assert config.NUM_GPUS == 0
