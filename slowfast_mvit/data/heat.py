"""Heat over pictures: where a map is high, a frame is coloured."""

from functools import lru_cache

import numpy as np

from slowfast_mvit.ops.spatial import CropBox

_COLOURS = "turbo"  # matplotlib's
_STRENGTH = 0.6  # of the colour where the map is highest
_OUTSIDE = 0.35  # brightness of what the model was not shown


@lru_cache(maxsize=1)
def _colours() -> np.ndarray:
    """float32 [256, 3] in 0 .. 255."""
    from matplotlib import colormaps

    return (colormaps[_COLOURS](np.arange(256))[:, :3] * 255).astype(np.float32)


def heat_on_frame(frame: np.ndarray, heat: np.ndarray, seen: CropBox) -> np.ndarray:
    """A frame uint8 RGB [H, W, 3] with a map float [seen.height, seen.width] in 0 .. 1 over the part that was seen.

    The colour covers the picture more the higher the map is; what was not seen is dark.
    """
    rows, columns = slice(seen.top, seen.top + seen.height), slice(seen.left, seen.left + seen.width)
    drawn = (frame * np.float32(_OUTSIDE)).astype(np.uint8)
    share = (heat * _STRENGTH).astype(np.float32)[..., None]
    colour = _colours()[np.clip(heat * 255, 0, 255).round().astype(np.uint8)]
    drawn[rows, columns] = (frame[rows, columns] * (1 - share) + colour * share).round().astype(np.uint8)
    return drawn
