"""What people do in AVA's lists: actions by number or by name, and which output of a model each is."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from slowfast_mvit.data.ava_csv import BoxRows
from slowfast_mvit.errors import UserError, closest


@dataclass(frozen=True)
class Actions:
    """What the outputs of a model mean: output ``i`` is the action number ``i + 1`` of the files.

    Attributes:
        names: of each output, empty where an action has a number only.
    """

    names: tuple[str, ...]

    def columns(self, rows: BoxRows) -> np.ndarray:
        """The output of each row's action, int64 [N]; -1 for boxes without one.

        Raises:
            UserError: an unknown name, or a number that no output has.
        """
        number_of = {name: number for number, name in enumerate(self.names) if name}
        columns = np.array([self._column(text, number_of, rows) for text in rows.action_names] + [-1])
        return columns[rows.actions]

    def _column(self, text: str, number_of: Mapping[str, int], rows: BoxRows) -> int:
        if text in number_of:
            return number_of[text]
        number = _number(text)
        if number is None:
            raise UserError(f"{rows.source}: unknown action {text!r}: {closest(text, number_of)}")
        if not 1 <= number <= len(self.names):
            raise UserError(
                f"{rows.source}: the action {text} is out of range 1..{len(self.names)} (actions are counted from 1): mend "
                "the list or set MODEL.NUM_CLASSES"
            )
        return number - 1


def actions_of(
    num_classes: int,
    *,
    names: Sequence[str] = (),
    label_map: Mapping[int, str] | None = None,
    named_in: Iterable[BoxRows] = (),
) -> Actions:
    """The actions by the ``names`` of a checkpoint, else by a label map, else by the names found in lists, sorted.

    Args:
        num_classes: outputs of the model.
        names: of all outputs.
        label_map: name of each number, from 1; numbers without a name are allowed (AVA scores 60 of 80).
        named_in: all box lists of the data set, whose names are numbered together.

    Raises:
        UserError: another number of names than outputs; a label map that does not fit these; lists that mix names with numbers.
    """
    if label_map and max(label_map) > num_classes:
        raise UserError(
            f"the label map has an action {max(label_map)}, and MODEL.NUM_CLASSES is {num_classes}: set it to at "
            f"least {max(label_map)} (80 for AVA), or take another label map"
        )
    if names:
        if len(names) != num_classes:
            raise UserError(f"there are {len(names)} names of actions, and MODEL.NUM_CLASSES is {num_classes}")
        for number, name in sorted((label_map or {}).items()):
            if names[number - 1] not in ("", name):
                raise UserError(
                    f"the label map calls action {number} {name!r}, and the model was trained with {names[number - 1]!r} there"
                    ": set AVA.LABEL_MAP_FILE to the label map of its training"
                )
        return Actions(tuple(names))
    if label_map:
        return Actions(tuple(label_map.get(number, "") for number in range(1, num_classes + 1)))
    found = {name for rows in named_in for name in rows.action_names}
    words = sorted(name for name in found if _number(name) is None)
    if words and len(words) < len(found):
        raise UserError(
            f"box lists mix names of actions ({', '.join(words[:3])}) with numbers "
            f"({', '.join(sorted(found - set(words))[:3])}): use one or the other, or give a label map"
        )
    if words and len(words) != num_classes:
        raise UserError(f"the box lists name {len(words)} actions, and MODEL.NUM_CLASSES is {num_classes}: set it so")
    return Actions(tuple(words) or ("",) * num_classes)


def _number(text: str) -> int | None:
    """The number of an action: 12, or 12.0 as tables write whole numbers of columns with gaps; None for a name."""
    whole, _, fraction = text.partition(".")
    return int(whole) if whole.isdecimal() and not fraction.strip("0") else None
