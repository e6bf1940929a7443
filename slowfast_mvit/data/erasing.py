"""Random erasing (arXiv:1708.04896): where to erase, the same box in every frame.

The boxes are drawn with the rest of a sample's augmentation; ``ops.erasing`` fills them once the clip is normalised.
"""

import math

import numpy as np

from slowfast_mvit.batches import EraseBox

MIN_AREA, MAX_AREA = 0.02, 1 / 3  # of the frame, shared by the boxes
MIN_ASPECT, MAX_ASPECT = 0.3, 1 / 0.3  # height / width, log-uniform
TRIES = 100  # per box; PySlowFast has 100 for clips and 10 for images, and the first one or two nearly always fit
MODES = ("pixel", "rand", "const")


class RandomErasing:
    """Draws the boxes to erase: with ``prob``, 1 to ``count`` boxes that share 2 % .. 1/3 of the frame's area.

    As in PySlowFast; there a count above 1 also spares the first frames of a clip, by a slip that is not repeated here.

    ``mode`` is what they are to be filled with; it is checked and kept here beside the other settings.
    """

    def __init__(self, prob: float, count: int = 1, mode: str = "pixel") -> None:
        if not 0 <= prob <= 1:
            raise ValueError(f"the probability of erasing is {prob}; it must lie in 0..1")
        if count < 1:
            raise ValueError(f"the number of boxes to erase is {count}; it must be at least 1")
        if mode not in MODES:
            raise ValueError(f"the mode of erasing is {mode!r}; it must be pixel, rand or const")
        self.prob = prob
        self.count = count
        self.mode = mode

    def draw_boxes(self, rng: np.random.Generator, height: int, width: int) -> tuple[EraseBox, ...]:
        """Boxes for a clip of ``height`` x ``width`` pixels: none with probability 1 - prob, else up to ``count``."""
        if rng.random() >= self.prob:
            return ()
        count = int(rng.integers(1, self.count + 1)) if self.count > 1 else 1
        boxes = (_draw_box(rng, height, width, count) for _ in range(count))
        return tuple(box for box in boxes if box is not None)


def _draw_box(rng: np.random.Generator, height: int, width: int, count: int) -> EraseBox | None:
    """The first box that is smaller than the frame both ways; None where no try gives one."""
    for _ in range(TRIES):
        area = rng.uniform(MIN_AREA, MAX_AREA) * height * width / count
        aspect = math.exp(rng.uniform(math.log(MIN_ASPECT), math.log(MAX_ASPECT)))
        box_height, box_width = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < box_height < height and 0 < box_width < width:
            top = int(rng.integers(height - box_height + 1))
            left = int(rng.integers(width - box_width + 1))
            return EraseBox(top, left, box_height, box_width)
    return None
