"""What became of each epoch: means of the training, metrics of the validation. Written as CSV beside the log."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from slowfast_mvit.errors import UserError

_VALIDATION = "val_"


class History:
    """One row per finished epoch.

    A checkpoint is written before its epoch is validated, so its own ``history`` lacks the newest metrics; the CSV file has
    them.

    Args:
        rows: of the epochs before, by their ``epoch``, which counts from 1.
    """

    def __init__(self, rows: Iterable[Mapping[str, float]] = ()) -> None:
        self.rows = {int(row["epoch"]): dict(row) for row in rows}

    def add(self, epoch: int, means: Mapping[str, float]) -> None:
        """An epoch (from 1) is trained."""
        self.rows[epoch] = {"epoch": epoch, **means, **self.rows.get(epoch, {})}

    def validated(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """An epoch is validated; its first metric is the one that counts."""
        self.rows.setdefault(epoch, {"epoch": epoch}).update(
            {_VALIDATION + name: value for name, value in metrics.items()}
        )

    def forget(self, epoch: int) -> None:
        """Drop what is known of an epoch."""
        self.rows.pop(epoch, None)

    def is_trained(self, epoch: int) -> bool:
        """Whether the epoch has means of its training."""
        return any(name != "epoch" and not name.startswith(_VALIDATION) for name in self.rows.get(epoch, {}))

    def is_validated(self, epoch: int) -> bool:
        """Whether the epoch has metrics of a validation."""
        return any(name.startswith(_VALIDATION) for name in self.rows.get(epoch, {}))

    def best(self) -> tuple[int, str, float] | None:
        """The epoch whose first metric is highest, the earliest of equals, with the metric's name and value."""
        best = None
        for epoch in sorted(self.rows):
            for name, value in self.rows[epoch].items():
                if name.startswith(_VALIDATION):
                    if value == value and (best is None or value > best[2]):
                        best = (epoch, name.removeprefix(_VALIDATION), value)
                    break
        return best

    def as_list(self) -> list[dict[str, float]]:
        """The rows in order, for a checkpoint."""
        return [self.rows[epoch] for epoch in sorted(self.rows)]

    def write(self, path: Path) -> None:
        """Write the rows as CSV; a row leaves empty what it lacks.

        Raises:
            UserError: the file cannot be written.
        """
        rows = self.as_list()
        names = list(dict.fromkeys(name for row in rows for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _in_text(value) for name, value in row.items()} for row in rows)
        temporary = path.with_name(f".{path.name}.tmp")
        try:
            temporary.write_text(text.getvalue(), encoding="utf-8")
            temporary.replace(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise UserError(f"{path} cannot be written: {error.strerror or error}") from error


def read_metrics(path: Path, epoch: int) -> dict[str, float]:
    """Metrics of the validation after an epoch (from 1) in a file of :meth:`History.write`; empty where it has none."""
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row.get("epoch") == str(epoch):
                return _numbers(row)
    return {}


def _numbers(row: Mapping[str, str | Sequence[str] | None]) -> dict[str, float]:
    return {
        name.removeprefix(_VALIDATION): float(value)
        for name, value in row.items()
        if name and name.startswith(_VALIDATION) and isinstance(value, str) and value
    }


def _in_text(value: float) -> str:
    """The number to its last bit: a run that goes on compares it with those of its next epochs."""
    return str(value) if isinstance(value, int) else repr(float(value)).removesuffix(".0")
