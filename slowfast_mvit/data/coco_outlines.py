"""Outlines of objects as COCO has them, polygons or run lengths, in little memory; and masks of them at any size.

Letters: A objects, P polygons of all of them. A polygon is scaled and then filled in, and run lengths are sampled once, so that
no mask is resized twice.
"""

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from pycocotools import mask as masks_of

from slowfast_mvit.data.coco_transforms import Placement
from slowfast_mvit.errors import UserError

_CORNERS = 3  # that a polygon has at least
_ROUNDING = 1e-6  # pixels beyond the edge that are none


class _Runs(msgspec.Struct):
    size: tuple[int, int]
    counts: str | list[int]


_POLYGONS = msgspec.json.Decoder(list[list[float]])
_RUNS = msgspec.json.Decoder(_Runs)


@dataclass(frozen=True)
class Outlines:
    """The outlines of A objects.

    Attributes:
        points: float32 [numbers]; x, y of the corners of all polygons, in pixels of the image file.
        point_ends: int64 [P]; where in ``points`` each polygon ends.
        polygon_ends: int64 [A]; where in ``point_ends`` the polygons of each object end.
        runs: compressed run lengths of all objects that have them, one after the other.
        run_ends: int64 [A]; where in ``runs`` those of each object end.
    """

    points: np.ndarray
    point_ends: np.ndarray
    polygon_ends: np.ndarray
    runs: bytes
    run_ends: np.ndarray

    def __len__(self) -> int:
        return len(self.polygon_ends)

    @property
    def is_empty(self) -> np.ndarray:
        """bool [A]; objects of which no polygon has three corners, and that have no run lengths."""
        return (np.diff(self.polygon_ends, prepend=0) == 0) & (np.diff(self.run_ends, prepend=0) == 0)

    def mask(self, index: int, height: int, width: int, placement: Placement) -> np.ndarray:
        """The mask of object ``index`` where a placement of its image puts it: uint8 [canvas_height, canvas_width] of 0 and 1.

        Args:
            index: of the object.
            height, width: of the image file in pixels.
            placement: see :class:`Placement`.

        Raises:
            ValueError: the run lengths are not those of a mask of that size.
        """
        start, end = _range(self.run_ends, index)
        if end > start:
            counts = self.runs[start:end]
            if num_pixels(counts) != height * width:  # pycocotools would give whatever stood in memory
                raise ValueError("the run lengths of a mask are not those of its image")
            return placement.of_mask(masks_of.decode({"size": [height, width], "counts": counts}))
        polygons = [
            placement.of_points(self.points[slice(*_range(self.point_ends, row))].reshape(-1, 2).astype(np.float64))
            for row in range(*_range(self.polygon_ends, index))
        ]
        return _filled([polygon.ravel().tolist() for polygon in polygons], placement)

    def bounds(self, index: int, placement: Placement) -> np.ndarray | None:
        """The box float64 [4] around the corners of object ``index`` where a placement puts them, finer than whole pixels.

        None where the object has run lengths, or reaches over the edge of the window.
        """
        first, end = _range(self.polygon_ends, index)
        if first == end:
            return None
        numbers = self.points[_range(self.point_ends, first)[0] : int(self.point_ends[end - 1])]
        points = placement.of_points(numbers.reshape(-1, 2).astype(np.float64))
        low, high, corner = points.min(axis=0), points.max(axis=0), np.array((placement.width, placement.height))
        if low.min() < -_ROUNDING or (high - corner).max() > _ROUNDING:
            return None
        return np.concatenate((low.clip(0, corner), high.clip(0, corner)))

    def of(self, chosen: np.ndarray) -> "Outlines":
        """Those of the objects that bool [A] chooses."""
        polygons, runs = (np.diff(ends, prepend=0) for ends in (self.polygon_ends, self.run_ends))
        of_points = np.repeat(np.repeat(chosen, polygons), np.diff(self.point_ends, prepend=0))
        of_runs = np.frombuffer(self.runs, dtype=np.uint8)[np.repeat(chosen, runs)]
        corners = np.diff(self.point_ends, prepend=0)[np.repeat(chosen, polygons)]
        return Outlines(
            self.points[of_points],
            np.cumsum(corners, dtype=np.int64),
            np.cumsum(polygons[chosen], dtype=np.int64),
            of_runs.tobytes(),
            np.cumsum(runs[chosen], dtype=np.int64),
        )


def num_pixels(counts: bytes) -> int:
    """How many pixels compressed run lengths stand for; -1 where they are none.

    Each number is written in digits of five bits, the lowest first, with 32 added where another follows, plus 48; from the
    fourth on it is the difference to the one two before (COCO's maskApi.c).
    """
    digits = np.frombuffer(counts, dtype=np.uint8).astype(np.int64) - 48
    is_last = (digits & 32) == 0
    if not len(digits) or not is_last[-1] or digits.min() < 0 or digits.max() > 63:
        return -1
    ends = np.flatnonzero(is_last)
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    places = np.arange(len(digits)) - np.repeat(starts, lengths)
    values = np.add.reduceat((digits & 31) << (5 * places), starts)
    values -= np.where(digits[ends] & 16, 1 << (5 * lengths), 0)
    runs = np.concatenate((values[:1], np.cumsum(values[1::2]), np.cumsum(values[2::2])))
    return int(runs.sum()) if runs.min() >= 0 else -1


def _filled(polygons: list[list[float]], placement: Placement) -> np.ndarray:
    """uint8 [canvas_height, canvas_width]; what lies in any of the polygons, and in the picture."""
    runs = masks_of.frPyObjects(polygons, placement.canvas_height, placement.canvas_width)
    mask: np.ndarray = masks_of.decode(masks_of.merge(runs))
    # What the picture does not show: a polygon may reach over the edge of its image.
    mask[placement.height :] = 0
    mask[:, placement.width :] = 0
    return mask


def _range(ends: np.ndarray, index: int) -> tuple[int, int]:
    return (int(ends[index - 1]) if index else 0), int(ends[index])


def pack_outlines(
    segmentations: Sequence[msgspec.Raw], heights: np.ndarray, widths: np.ndarray, name_of: Callable[[int], str]
) -> Outlines:
    """Outlines of JSON texts as COCO writes them; polygons of less than three corners, or half of one, are left out.

    Args:
        segmentations: lists of polygons [x, y, x, y ...], or run lengths ``{"size": [h, w], "counts": text or numbers}``.
        heights, widths: int [A]; of the images.
        name_of: what to call an annotation in a message.

    Raises:
        UserError: a text is neither, or run lengths are of another size than their image.
    """
    points, point_ends, polygon_ends = array("f"), array("q"), array("q")
    runs, run_ends = bytearray(), array("q")
    for index, text in enumerate(segmentations):
        try:
            if bytes(memoryview(text)[:1]) == b"{":
                runs += _compressed(_RUNS.decode(text), int(heights[index]), int(widths[index]))
            else:
                for polygon in _POLYGONS.decode(text):
                    if len(polygon) % 2 == 0 and len(polygon) >= 2 * _CORNERS:
                        points.extend(polygon)
                        point_ends.append(len(points))
        except (msgspec.DecodeError, ValueError) as error:
            raise UserError(
                f"the segmentation of annotation {name_of(index)} is wrong ({error}): give polygons [[x, y, ...], ...] or "
                'run lengths {"size": [height, width], "counts": ...}'
            ) from error
        polygon_ends.append(len(point_ends))
        run_ends.append(len(runs))
    return Outlines(
        np.frombuffer(points, dtype=np.float32),
        np.frombuffer(point_ends, dtype=np.int64),
        np.frombuffer(polygon_ends, dtype=np.int64),
        bytes(runs),
        np.frombuffer(run_ends, dtype=np.int64),
    )


def _compressed(runs: _Runs, height: int, width: int) -> bytes:
    """Run lengths as pycocotools reads them."""
    if runs.size != (height, width):
        raise ValueError(f"its size is {list(runs.size)}, and its image is [{height}, {width}]")
    if isinstance(runs.counts, str):
        return runs.counts.encode("ascii")
    if min(runs.counts, default=0) < 0 or sum(runs.counts) != height * width:
        raise ValueError(f"its counts give {sum(runs.counts)} pixels, and its image has {height * width}")
    counts: bytes = masks_of.frPyObjects({"size": [height, width], "counts": runs.counts}, height, width)["counts"]
    return counts
