"""What a checked dataset is, in words: found of expected, sizes, frame rates, lengths, labels, duplicates."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations
from operator import itemgetter

import numpy as np

from slowfast_mvit.build.check_data import LABEL_SEPARATOR, MISSING, Checked
from slowfast_mvit.build.data import dataset_of
from slowfast_mvit.config.schema import Config
from slowfast_mvit.data.inspect import DAMAGED, OK, UNREADABLE
from slowfast_mvit.data.inspection_table import Row
from slowfast_mvit.ops.temporal import clip_span

_PARTS = (0, 5, 25, 50, 75, 95, 100)  # percentiles that are shown
_FEW = 5  # examples, classes, buckets


def data_report(config: Config, checked: Checked) -> Iterator[str]:
    """Lines of the report, split by split, and what splits share."""
    for split, labels in checked.labels.items():
        rows = [row for row in checked.rows if row.split == split]
        yield from _of_split(config, split, rows, labels)
    paths = {split: {row.path for row in checked.rows if row.split == split} for split in checked.labels}
    for one, other in combinations(paths, 2):
        shared = sorted(paths[one] & paths[other])
        if shared:
            yield f"{one} and {other} share {_count(len(shared), 'file')}: {_some(shared)}"


def _is_short(config: Config, split: str, frames: int, fps: float) -> bool:
    """Whether a clip of the recipe takes more frames than a video has, and so repeats some."""
    data = config.DATA
    if dataset_of(config, split) == "ssv2":
        return frames < data.NUM_FRAMES
    return frames < clip_span(data.NUM_FRAMES, data.SAMPLING_RATE, fps, data.TARGET_FPS)


def _of_split(config: Config, split: str, rows: Sequence[Row], labels: Sequence[str]) -> Iterator[str]:
    status = Counter(row.seen.found.status for row in rows)
    wrong = [f"{status[name]} {name}" for name in (DAMAGED, UNREADABLE, MISSING) if status[name]]
    yield f"{split}: {len(rows) - status[MISSING]} of {len(rows)} found, {status[OK]} ok{''.join(f', {w}' for w in wrong)}"
    found = [row.seen.found for row in rows if row.seen.found.width is not None]
    if found:
        sides = np.array([min(f.width or 0, f.height or 0) for f in found])
        crop = config.DATA.TRAIN_CROP_SIZE
        small = int((sides < crop).sum()) if dataset_of(config, split) != "coco" else 0  # which is not cropped to it
        yield f"  short side  {_quantiles(sides, 'pixels')}" + (
            f"; {small} below TRAIN_CROP_SIZE {crop}" if small else ""
        )
        yield f"  codecs      {_buckets(Counter(f.codec for f in found))}"
        turned = Counter(f"{f.rotation} degrees" for f in found if f.rotation)
        if turned:
            yield f"  rotated     {_buckets(turned)} (their frames are turned upright)"
    timed = [(f.frames or 0, f.fps, f.duration or 0.0) for f in found if f.fps]
    if timed:
        yield f"  frame rate  {_buckets(Counter(f'{fps:g} fps' for _, fps, _ in timed))}"
        short = sum(_is_short(config, split, frames, fps) for frames, fps, _ in timed)
        lengths = _quantiles(np.array([duration for *_, duration in timed]), "s")
        yield f"  duration    {lengths}; {short} shorter than a clip"
    if dataset_of(config, split) != "ava":  # whose actions are of boxes and not of files
        yield from _labels(rows, labels, config.DATA.MULTI_LABEL or dataset_of(config, split) == "coco")
    twice = [path for path, count in Counter(row.path for row in rows).items() if count > 1]
    if twice:
        yield f"  duplicates  {_count(len(twice), 'file')} listed more than once: {_some(twice)}"


def _labels(rows: Sequence[Row], labels: Sequence[str], multi_label: bool) -> Iterator[str]:
    """Labels without a file that can be read, and those with the fewest."""
    readable = [row.label for row in rows if row.seen.found.status in (OK, DAMAGED)]
    counts = Counter(name for label in readable for name in (label.split(LABEL_SEPARATOR) if multi_label else [label]))
    empty = [label for label in labels if not counts[label]]
    fewest = ", ".join(f"{label} ({count})" for label, count in sorted(counts.items(), key=itemgetter(1))[:_FEW])
    yield f"  labels      {len(labels) - len(empty)} of {len(labels)} have files" + (
        f"; fewest: {fewest}" if fewest else ""
    )
    if empty:
        yield f"              without: {_some(empty)}"


def _quantiles(values: np.ndarray, unit: str) -> str:
    if values.min() == values.max():
        return f"all {values[0]:.4g} {unit}"
    names = {0: "min", 50: "median", 100: "max"}
    parts = zip(_PARTS, np.percentile(values, _PARTS, method="nearest"), strict=True)
    return ", ".join(f"{names.get(part, f'{part} %')} {value:.4g}" for part, value in parts) + f" {unit}"


def _buckets(counts: Counter[str]) -> str:
    """The most frequent values, and how many others there are."""
    shown = counts.most_common(_FEW)
    rest = counts.total() - sum(count for _, count in shown)
    return ", ".join(f"{value}: {count}" for value, count in shown) + (f", others: {rest}" if rest else "")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_FEW]) + (f" and {len(names) - _FEW} more" if len(names) > _FEW else "")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + "s" * (number != 1)
