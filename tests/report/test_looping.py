"""Pictures in data URLs, read back."""

import base64
import io

import numpy as np
from PIL import Image

from slowfast_mvit.report.looping import Budget, Looping, larger, looping, smaller


def opened(url: str) -> Image.Image:
    head, _, data = url.partition(",")
    assert head == "data:image/webp;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_frames_become_an_endless_animation() -> None:
    frames = np.stack([np.full((100, 200, 3), value, dtype=np.uint8) for value in (0, 120, 240)])
    found = looping(frames, 150, 160)
    moving = opened(found.moving)
    assert (moving.size, moving.n_frames, moving.info["loop"]) == ((160, 80), 3, 0)  # type: ignore[attr-defined]
    for number, value in enumerate((0, 120, 240)):
        moving.seek(number)
        moving.load()
        assert moving.info["duration"] == 150
        assert abs(np.asarray(moving.convert("RGB")).astype(int) - value).max() < 8
    assert (found.width, found.height) == opened(found.still).size == (160, 80)
    assert abs(np.asarray(opened(found.still).convert("RGB")).astype(int) - 120).max() < 8


def test_one_frame_does_not_move() -> None:
    found = looping([np.zeros((30, 20, 3), dtype=np.uint8)], 0, 160)
    assert found.moving == "" and opened(found.still).size == (20, 30)


def test_sizes() -> None:
    frame = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    assert smaller(frame, 6) is frame and smaller(frame, 3).shape == (2, 3, 3)
    assert larger(frame, 13).shape == (8, 12, 3) and (larger(frame, 13)[::2, ::2] == frame).all()
    assert larger(frame, 5).shape == frame.shape


def test_a_budget_is_kept() -> None:
    budget = Budget(100)
    picture = Looping("m" * 30, "s" * 20, 1, 1)
    assert [budget.take(picture) for _ in range(3)] == [True, True, False]
    assert (budget.left, budget.refused) == (0, 1)
