"""Which data sets have annotations beside their files, and who checks these."""

from collections.abc import Iterator
from pathlib import Path

from slowfast_mvit.build.ava_check import check_boxes, check_seconds
from slowfast_mvit.build.coco_check import check_objects, check_sizes
from slowfast_mvit.config.schema import Config
from slowfast_mvit.data.inspection_table import Row


def check_annotations(config: Config, out: Path) -> tuple[list[str], list[str]]:
    """Lines of a report on annotations alone, and a sentence for each thing that is wrong with them.

    Raises:
        UserError: keys that are not set, or files that cannot be read.
    """
    check = {"ava": check_boxes, "coco": check_objects}.get(config.TRAIN.DATASET)
    return ([], []) if check is None else check(config, out)


def check_against_files(config: Config, rows: tuple[Row, ...]) -> Iterator[str]:
    """A sentence for each thing in which annotations and files differ, by the rows of the files' inspection."""
    check = {"ava": check_seconds, "coco": check_sizes}.get(config.TRAIN.DATASET)
    if check is not None:
        yield from check(config, rows)
