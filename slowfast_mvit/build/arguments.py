"""What create_model is given, checked once."""

from collections.abc import Iterable, Mapping
from numbers import Integral, Real

from slowfast_mvit.errors import UserError, closest
from slowfast_mvit.models.switches import SWITCHES

_OF_TIMM = {"img_size": "crop_size", "in_chans": "in_channels"}


def check_arguments(arguments: Mapping[str, object], others: Iterable[str]) -> None:
    """Raise UserError at the first value of another kind or out of range, or at a keyword that does not exist.

    Args:
        arguments: of create_model by name, but for the model's own and the switches; None stands for an open one.
        others: the further keywords that were given, which should be switches.
    """
    for name in others:
        if name not in SWITCHES:
            hint = f"did you mean {_OF_TIMM[name]}?" if name in _OF_TIMM else closest(name, [*arguments, *SWITCHES])
            raise UserError(f"create_model takes no {name!r}; {hint}")
    for name, is_right, kind in (
        ("num_classes", _is_count, "a whole number from 1 on"),
        ("in_channels", _is_count, "a whole number from 1 on"),
        ("num_frames", _is_whole, "a whole number"),
        ("crop_size", _is_size, "a whole number of pixels, or a pair of them (height, width)"),
        ("drop_path_rate", _is_rate, "at least 0 and less than 1"),
        ("dropout_rate", _is_rate, "at least 0 and less than 1"),
        ("boxes", lambda value: isinstance(value, bool), "True or False"),
    ):
        value = arguments.get(name)
        if value is not None and not is_right(value):
            raise UserError(f"{name} is {value!r}; it must be {kind}")


def _is_whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_count(value: object) -> bool:
    return isinstance(value, Integral) and _is_whole(value) and int(value) >= 1


def _is_size(value: object) -> bool:
    return _is_whole(value) or (isinstance(value, tuple) and len(value) == 2 and all(map(_is_whole, value)))


def _is_rate(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and 0 <= float(value) < 1
