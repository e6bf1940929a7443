"""Heat over frames, pixel by pixel."""

import numpy as np
from matplotlib import colormaps

from slowfast_mvit.data.heat import heat_on_frame
from slowfast_mvit.ops.spatial import CropBox


def test_pixels_by_hand() -> None:
    frame = np.full((2, 4, 3), 200, np.uint8)
    heat = np.array([[0.0, 1.0], [0.5, 0.0]], np.float32)
    drawn = heat_on_frame(frame, heat, CropBox(0, 1, 2, 2))
    assert drawn.dtype == np.uint8 and (frame == 200).all()
    assert (drawn[:, [0, 3]] == 70).all()  # 35 % of it, where the model did not look
    assert (drawn[0, 1] == 200).all() and (drawn[1, 2] == 200).all()
    hot, half = (np.array(colormaps["turbo"](value)[:3]) * 255 for value in (255, 128))
    assert np.abs(drawn[0, 2] - (200 * 0.4 + hot * 0.6)).max() <= 1
    assert np.abs(drawn[1, 1] - (200 * 0.7 + half * 0.3)).max() <= 1
