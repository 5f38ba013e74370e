"""Axes of charts: round ticks, their texts, and the frame that maps values to the canvas."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from slipway.pages.numbers import short_number


@dataclass(frozen=True)
class Frame:
    """Maps values to the canvas; y grows upwards. The x axis ends at `x_range`, or at its outer ticks."""

    x_ticks: Sequence[float]
    y_ticks: Sequence[float]
    x_range: tuple[float, float] | None = None
    width: float = 360
    height: float = 230
    left: float = 44
    right: float = 12
    top: float = 10
    bottom: float = 40

    def x(self, value: float) -> float:
        """Where a value is, from the left."""
        low, high = self.x_range or (self.x_ticks[0], self.x_ticks[-1])
        return self.left + (value - low) / (high - low) * (self.width - self.left - self.right)

    def y(self, value: float) -> float:
        """Where a value is, from the top."""
        low, high = self.y_ticks[0], self.y_ticks[-1]
        return self.height - self.bottom - (value - low) / (high - low) * (self.height - self.top - self.bottom)

    def x_axis(self, label: str, texts: Sequence[str] = ()) -> Markup:
        """The base line, tick labels and the axis label."""
        foot, end = self.height - self.bottom, self.width - self.right
        ticks = Markup("").join(
            Markup('<text x="{:.1f}" y="{:.1f}">{}</text>').format(self.x(tick), foot + 16, text)
            for tick, text in zip(self.x_ticks, texts or tick_texts(self.x_ticks), strict=True)
        )
        return Markup(
            '<path class="base" d="M{:.1f} {:.1f}H{:.1f}"/><g class="tick" text-anchor="middle">{}</g>'
            '<text class="axis" text-anchor="middle" x="{:.1f}" y="{:.1f}">{}</text>'
        ).format(self.left, foot, end, ticks, (self.left + end) / 2, self.height - 5, label)

    def y_axis(self, label: str, texts: Sequence[str] = ()) -> Markup:
        """A grid line and a label for each tick, and the axis label on its side."""
        end = self.width - self.right
        ticks = Markup("").join(
            Markup('<path class="grid" d="M{:.1f} {:.1f}H{:.1f}"/><text x="{:.1f}" y="{:.1f}">{}</text>').format(
                self.left, self.y(tick), end, self.left - 7, self.y(tick) + 3.5, text
            )
            for tick, text in zip(self.y_ticks, texts or tick_texts(self.y_ticks), strict=True)
        )
        return Markup(
            '<g class="tick" text-anchor="end">{}</g>'
            '<text class="axis" text-anchor="middle" transform="translate(9 {:.1f}) rotate(-90)">{}</text>'
        ).format(ticks, (self.top + self.height - self.bottom) / 2, label)

    def line(self, xs: Sequence[float], ys: Sequence[float]) -> str:
        """Path data through the finite points; a gap where a value is missing."""
        commands, pen = "", "M"
        for x, y in zip(xs, ys, strict=True):
            is_point = math.isfinite(x) and math.isfinite(y)
            commands += f"{pen}{self.x(x):.1f} {self.y(y):.1f}" if is_point else ""
            pen = "L" if is_point else "M"
        return commands

    def svg(self, title: str, *parts: Markup) -> Markup:
        """The drawing, with a title for screen readers."""
        return Markup('<svg role="img" viewBox="0 0 {:g} {:g}"><title>{}</title>{}</svg>').format(
            self.width, self.height, title, Markup("").join(parts)
        )


@dataclass(frozen=True)
class Powers:
    """A logarithmic axis from one power of ten to another."""

    low: int
    high: int

    @classmethod
    def of(cls, heights: Sequence[float]) -> "Powers":
        """From below the smallest height above 0 to the largest."""
        logs = [math.log10(height) for height in heights] or [0.0]
        return cls(math.ceil(min(logs)) - 1, max(math.ceil(max(logs)), math.ceil(min(logs))))

    def place(self, height: float) -> float:
        """The power of ten; of 0, the lowest of the axis."""
        return max(math.log10(height), self.low) if height > 0 else self.low

    @property
    def ticks(self) -> list[float]:
        """Powers of ten, six at most."""
        step = max(1, math.ceil((self.high - self.low) / 5))
        return [float(power) for power in range(self.low, self.high + step, step)]

    @property
    def texts(self) -> list[str]:
        """What the ticks stand for: `0.1`, `10`."""
        return [_tick_text(10.0**power, 3) for power in self.ticks]


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round values (1, 2 or 5 times a power of ten apart) that cover `low` to `high`.

    Source: P. Heckbert, "Nice numbers for graph labels", Graphics Gems, 1990.
    """
    if low == high:
        spread = abs(low) * 0.1 or 1.0
        low, high = low - spread, high + spread
    rough = (high - low) / (count - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def extent(values: Sequence[float]) -> tuple[float, float]:
    """The least and the largest of the finite values."""
    finite = [value for value in values if math.isfinite(value)]
    return (min(finite), max(finite)) if finite else (0.0, 1.0)


def tick_texts(ticks: Sequence[float]) -> list[str]:
    """Short labels of ticks (`1.2k`, `3M`) with enough digits to be distinct."""
    for digits in range(3, 12):
        texts = [_tick_text(tick, digits) for tick in ticks]
        if len(set(texts)) == len(set(ticks)):
            break
    return texts


def _tick_text(value: float, digits: int) -> str:
    if value.is_integer() or abs(value) >= 1e4:
        return short_number(value, digits)
    return f"{value:.10g}".replace("-", "−")  # noqa: RUF001
