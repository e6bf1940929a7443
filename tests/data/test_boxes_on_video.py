"""Films of drawn frames: their times, and that one which breaks off is no film."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from slowfast_mvit.data.boxes_on_video import write_drawn
from slowfast_mvit.data.video import open_video


class Film:
    """A reader as far as drawing needs one."""

    fps, height, width = Fraction(25), 48, 64

    def __init__(self, times):
        self.times = np.array(times)

    def timestamps(self):
        return self.times

    def pictures(self, indices):
        return ((index, np.full((48, 64, 3), index * 40, dtype=np.uint8)) for index in indices)


def test_frames_of_one_time_follow_each_other(tmp_path: Path) -> None:
    """As some AVI files have them: each stands a tick of 1 / 90000 of a second after the one before."""
    film = Film([0, 0.04, 0.04, 0.04, 0.08])
    assert write_drawn(film, lambda second, frame: frame, tmp_path / "a.mp4") == 5  # type: ignore[arg-type]
    with open_video(tmp_path / "a.mp4") as drawn:
        np.testing.assert_allclose(drawn.timestamps(), np.array([0, 3600, 3601, 3602, 7200]) / 90000, atol=1e-9)
        assert drawn.frames_at(range(5)).mean(axis=(1, 2, 3)).round(-1).tolist() == [0, 40, 80, 120, 160]


def test_a_film_that_breaks_off_leaves_the_one_before(tmp_path: Path) -> None:
    def break_off(second, frame):
        if second:
            raise KeyboardInterrupt
        return frame

    (tmp_path / "a.mp4").write_bytes(b"of yesterday")
    with pytest.raises(KeyboardInterrupt):
        write_drawn(Film([0, 0.04]), break_off, tmp_path / "a.mp4")  # type: ignore[arg-type]
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.mp4", b"of yesterday")]
