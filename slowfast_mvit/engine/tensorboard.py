"""The log as curves for TensorBoard."""

from pathlib import Path
from types import TracebackType
from typing import Self

from slowfast_mvit.errors import UserError


class TensorBoardLog:
    """Draws every number of a record over its ``step``, or its ``epoch`` where it has none, as ``kind/name``.

    Args:
        folder: of the event files.
        first_step: what is gone on from: curves of an earlier process beyond it are taken out.

    Raises:
        UserError: tensorboard is not installed.
    """

    def __init__(self, folder: Path, first_step: int = 0) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter  # not installed by default, and slow to load
        except ImportError as error:
            raise UserError(
                "TENSORBOARD.ENABLE is True and tensorboard is not installed: pip install 'slowfast_mvit[tensorboard]', or set "
                "it to False"
            ) from error
        self._writer = SummaryWriter(folder, purge_step=first_step + 1 if first_step else None, flush_secs=30)

    def write(self, kind: str, **values: object) -> None:
        """Add a point to each curve of the record's kind."""
        place = values.get("step", values.get("epoch", 0))
        for name, value in values.items():
            if isinstance(value, int | float) and name not in ("step", "steps", "epoch"):
                self._writer.add_scalar(f"{kind}/{name}", value, place)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()
