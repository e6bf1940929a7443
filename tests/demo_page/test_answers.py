"""What the page is told: scores by hand, and the default windows and images by Predictor."""

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from slowfast_mvit import Predictor
from slowfast_mvit.build.predict_model import model_as_built, model_of_config
from slowfast_mvit.config.load import load_config
from slowfast_mvit.data.video import VideoError
from slowfast_mvit.demo_page.answers import Classifier, Curve, Label, Scores, Window, scores_of
from slowfast_mvit.errors import UserError
from slowfast_mvit.models.mvit import MViT
from tests.models.small import IMAGE, randomize


def test_scores_of_two_windows() -> None:
    whole = np.array([0.25, 0.125, 0.625])
    each = np.array([[0.5, 0.25, 0.25], [0.0, 0.0, 1.0]])
    found = scores_of(whole, each, np.array([[0.0, 2.0], [2.0, 3.5]]), ["a", "b"])
    assert found == Scores(
        (Label("class 2", 0.625), Label("a", 0.25), Label("b", 0.125)),
        (
            Window(0.0, 2.0, (Label("a", 0.5), Label("b", 0.25), Label("class 2", 0.25))),
            Window(2.0, 3.5, (Label("class 2", 1.0), Label("a", 0.0), Label("b", 0.0))),
        ),
        (Curve("class 2", (0.25, 1.0)), Curve("a", (0.5, 0.0)), Curve("b", (0.25, 0.0))),
    )


def test_of_many_classes_five_have_curves() -> None:
    each = np.array([[0.1, 0.2, 0.05, 0.3, 0.15, 0.2], [0.5, 0.0, 0.05, 0.3, 0.15, 0.0]])
    found = scores_of(each.mean(axis=0), each, np.array([[0, 1], [1, 2]]), list("abcdef"))
    assert [curve.name for curve in found.curves] == ["a", "d", "b", "f", "e"]
    assert [label.name for label in found.windows[1].best] == ["a", "d", "e", "c", "b"]


def looked(looker: Classifier, path: Path, moved: Callable[[float], None] = lambda share: None) -> Scores:
    answer = looker.look(path, path.parent / "drawn", moved, lambda: False)
    assert answer.scores is not None and answer.drawn is answer.file is None
    return answer.scores


def test_by_default_windows_are_as_long_as_a_clip(model: tuple[Path, Path], film: Path) -> None:
    """Of a short video, too: 8 frames, 4 apart, of 30 a second. How far it is, is told after each batch of 7."""
    config, weights = model
    ready = model_of_config(load_config(config, ["NUM_GPUS", "0", "TEST.CHECKPOINT_FILE_PATH", str(weights)]))
    shares: list[float] = []
    found = looked(Classifier(ready, stride=0.6), film, shares.append)
    predictor = Predictor(ready.config)
    table = predictor.predict(film, window=8 * 4 / 30, stride=0.6)
    seconds = np.array([(one.start, one.end) for one in found.windows])
    np.testing.assert_allclose(seconds, table[["start_sec", "end_sec"]], atol=0.0005)  # the table's are rounded
    assert [one.best[0].score for one in found.windows] == pytest.approx(table["top1_score"].tolist(), abs=1e-6)
    assert len(table) == 10 and shares == [pytest.approx(0.7), 1.0]
    (whole,) = predictor.predict(film, window=8 * 4 / 30, stride=0.6, per_video=True)["top1_score"]
    assert found.whole[0].score == pytest.approx(whole, abs=1e-6)
    alone = looked(Classifier(ready, window=100), film)
    assert [(one.start, one.end) for one in alone.windows] == [(0.0, pytest.approx(6.4))]


def test_what_moved_raises_ends_the_work(model: tuple[Path, Path], film: Path) -> None:
    class LeftError(Exception):
        pass

    def leave(share: float) -> None:
        raise LeftError

    config, weights = model
    ready = model_of_config(load_config(config, ["NUM_GPUS", "0", "TEST.CHECKPOINT_FILE_PATH", str(weights)]))
    with pytest.raises(LeftError):
        looked(Classifier(ready), film, leave)
    cut = film.with_name("cut.mp4")
    cut.write_bytes(film.read_bytes()[:1000])
    with pytest.raises(VideoError, match=r"cut\.mp4"):
        looked(Classifier(ready), cut)


def test_a_damaged_film_has_scores_before_the_damage(model: tuple[Path, Path], film: Path) -> None:
    config, weights = model
    ready = model_of_config(load_config(config, ["NUM_GPUS", "0", "TEST.CHECKPOINT_FILE_PATH", str(weights)]))
    with av.open(str(film)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    content = bytearray(film.read_bytes())
    start, size = places[100]
    content[start : start + size] = b"\xff" * size
    broken = film.with_name("broken.mp4")
    broken.write_bytes(content)
    answer = Classifier(ready).look(broken, film.parent / "drawn", lambda share: None, lambda: False)
    whole = looked(Classifier(ready), film)
    assert answer.scores is not None and 0 < len(answer.scores.windows) < len(whole.windows)
    assert answer.scores.windows[0].best[0].score == pytest.approx(whole.windows[0].best[0].score, abs=1e-6)
    assert (
        answer.problem.startswith("The file is damaged: ") and "windows before that are scored, of 6" in answer.problem
    )


def test_an_image_has_no_windows(tmp_path: Path) -> None:
    model = MViT(IMAGE, 7)
    randomize(model)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (80, 90, 3), np.uint8)).save(tmp_path / "a.png")
    ready = model_as_built(model.eval(), name="mvitv2_t", label_names=list("abcdefg"), device=torch.device("cpu"))
    looker = Classifier(ready)
    assert looker.images
    with pytest.raises(UserError, match="the model is one for images"):
        Classifier(ready, window=1.0)
    found = looked(looker, tmp_path / "a.png")
    assert found.windows == found.curves == ()
    row = Predictor(model, name="mvitv2_t", label_names=list("abcdefg")).predict(tmp_path / "a.png").iloc[0]
    assert found.whole[0] == Label(row["top1_name"], pytest.approx(row["top1_score"], abs=1e-6))
