"""Curves as SVG: pure functions from numbers to a picture that takes its colours from the page, with a sentence that says it.

The picture is 360 units wide, about a phone's width, so that its words keep their size there.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

WIDTH, HEIGHT = 360, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 10, 10, 34  # units around the curves
_MOST_POINTS = 400  # of a curve; more are joined by their means


@dataclass(frozen=True)
class Curve:
    """Values at ascending places, NaN where there is none.

    Attributes:
        title: what the values are, such as ``Loss``.
        x_name: what the places are, such as ``step``.
        x: places.
        y: values.
        unit: put after a value in words, such as `` %``.
        whole: the places are whole numbers.
        shown: values that the axis shows at least, the least and the most.
    """

    title: str
    x_name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    unit: str = ""
    whole: bool = True
    shown: tuple[float, ...] = ()

    def points(self) -> list[tuple[float, float]]:
        """The places that have a value."""
        return [(x, y) for x, y in zip(self.x, self.y, strict=True) if math.isfinite(x) and math.isfinite(y)]

    def sentence(self) -> str:
        """What a reader sees in the curve, for those who do not see it."""
        points = self.points()
        if not points:
            return f"{self.title}: no value."
        if len(points) == 1:
            return f"{self.title}: {self._value(points[0])}."
        lowest, highest = (find(points, key=lambda point: point[1]) for find in (min, max))
        return (
            f"{self.title}, from {self._value(points[0])} to {self._value(points[-1])}; lowest {self._value(lowest)}, "
            f"highest {self._value(highest)}."
        )

    def _value(self, point: tuple[float, float]) -> str:
        return f"{point[1]:.4g}{self.unit} at {self.x_name} {point[0]:g}"


def chart(curve: Curve, name: str) -> Markup:
    """The curve with axes, as an SVG element.

    Args:
        curve: with at least one value.
        name: of the element, unique on the page; letters, digits and hyphens. The element ``<name>-words`` describes it, which
            should say :meth:`Curve.sentence`.
    """
    points = thinned(curve.points(), _MOST_POINTS)
    x_ticks = ticks(points[0][0], points[-1][0], 5, whole=curve.whole)
    values = [*curve.shown, *(y for _, y in points)]
    y_ticks = ticks(min(values), max(values), 5)
    across = _Axis(min(x_ticks[0], points[0][0]), max(x_ticks[-1], points[-1][0]), _LEFT, WIDTH - _RIGHT)
    up = _Axis(y_ticks[0], y_ticks[-1], HEIGHT - _BOTTOM, _TOP)
    path = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in points)
    last_x, last_y = across(points[-1][0]), up(points[-1][1])
    parts = [
        Markup(
            '<svg class="chart" viewBox="0 0 {0} {1}" role="img" aria-labelledby="{2}-title" aria-describedby="{2}-words">'
            '<title id="{2}-title">{3}</title>'
        ).format(WIDTH, HEIGHT, name, curve.title)
    ]
    for y in y_ticks:
        parts.append(
            Markup(
                '<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/><text class="at-y" x="{}" y="{:.1f}">{}</text>'
            ).format(_LEFT, WIDTH - _RIGHT, up(y), up(y), _LEFT - 6, up(y) + 4, f"{y:.6g}")
        )
    for x in x_ticks:
        parts.append(Markup('<text class="at-x" x="{:.1f}" y="{}">{:g}</text>').format(across(x), HEIGHT - 18, x))
    parts.append(
        Markup(
            '<text class="at-x" x="{}" y="{}">{}</text><polyline class="curve" points="{}"/>'
            '<circle class="end" cx="{:.1f}" cy="{:.1f}" r="3"/></svg>'
        ).format((_LEFT + WIDTH - _RIGHT) // 2, HEIGHT - 3, curve.x_name, path, last_x, last_y)
    )
    return Markup("").join(parts)


@dataclass(frozen=True)
class _Axis:
    """Where values between ``low`` and ``high`` are drawn, from ``start`` to ``stop``."""

    low: float
    high: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        part = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return self.start + part * (self.stop - self.start)


def ticks(low: float, high: float, most: int, *, whole: bool = False) -> list[float]:
    """Round numbers 1, 2 or 5 x a power of ten apart that hold ``low`` and ``high`` between them; at most ``most`` + 1.

    With ``whole`` they are whole numbers, and those inside of the range alone.
    """
    if low == high:
        return [low] if whole else ticks(low - (abs(low) or 1) / 2, low + (abs(low) or 1) / 2, most)
    raw = (high - low) / (most - 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * (1 - 1e-9))
    if whole:
        step = max(1.0, step)
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    else:
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{number * step:.15g}") for number in range(first, last + 1)]


def thinned(points: Sequence[tuple[float, float]], most: int) -> list[tuple[float, float]]:
    """At most ``most`` points: the means of neighbours, as many in each but the last."""
    each = -(-len(points) // most)
    groups = [points[start : start + each] for start in range(0, len(points), max(each, 1))]
    return [(sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group)) for group in groups]
