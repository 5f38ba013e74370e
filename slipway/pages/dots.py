"""A picture of one number for many things, with its intervals: dots beside each other's names, over a common axis.

Each line is a drawing of its own, so that names keep the size of the page's text on a phone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from slipway.pages.axes import nice_ticks
from slipway.pages.charts import figure
from slipway.pages.numbers import MISSING, format_number, short_number

TICKS = 4


@dataclass(frozen=True)
class Dot:
    """A value, and the ends of its interval if it has one."""

    value: float
    interval: tuple[float, float] | None = None

    @property
    def said(self) -> str:
        """`0.931 (0.92 to 0.94)`."""
        between = f" ({format_number(self.interval[0])} to {format_number(self.interval[1])})" if self.interval else ""
        return f"{format_number(self.value)}{between}"


def dot_chart(
    title: str,
    names: Sequence[str],
    rows: Sequence[tuple[str, Sequence[Dot | None]]],
    references: Sequence[float | None] = (),
    note: str = "",
) -> Markup:
    """A line for each row with a dot for each of at most three names; `references` are upright lines through all."""
    known = [dot for _, dots in rows for dot in dots if dot]
    reach = [end for dot in known for end in (dot.value, *(dot.interval or ()))]
    reach = [value for value in [*reach, *(one for one in references if one is not None)] if math.isfinite(value)]
    if not reach:
        return figure(title, Markup("<p>No value is defined.</p>"), names, note)
    ticks = nice_ticks(min(reach), max(reach), TICKS)
    axis = _Axis(ticks[0], ticks[-1])
    behind = Markup("").join(
        Markup('<line class="reference s{0}" x1="{1:.2f}%" x2="{1:.2f}%" y1="0" y2="100%"/>').format(
            index, axis.place(one)
        )
        for index, one in enumerate(references, 1)
        if one is not None and math.isfinite(one)
    )
    row = Markup(
        '<li><span class="name" title="{0}">{0}</span><svg role="img" class="of{1}"><title>{2}</title>{3}</svg>'
        '<span class="value">{4}</span></li>'
    )
    lines = [_axis_line(ticks, axis)]
    for label, dots in rows:
        said = [dot.said if dot else MISSING for dot in dots]
        told = f"{label}: {'; '.join(f'{name} {text}' for name, text in zip(names, said, strict=True))}"
        drawn = Markup("").join(
            _dot(index, dot, axis, 12 * index - 1) for index, dot in enumerate(dots, 1) if dot is not None
        )
        shown = Markup("<br>").join(format_number(dot.value) if dot else MISSING for dot in dots)
        lines.append(row.format(label, len(dots), told, behind + drawn, shown))
    return figure(title, Markup('<ul class="dots">{}</ul>').format(Markup("").join(lines)), names, note)


@dataclass(frozen=True)
class _Axis:
    low: float
    high: float

    def place(self, value: float) -> float:
        """In percent of the width, with room for a dot at both ends."""
        return 2 + 96 * (value - self.low) / (self.high - self.low)


def _axis_line(ticks: Sequence[float], axis: _Axis) -> Markup:
    texts = Markup("").join(
        Markup('<text x="{:.2f}%" y="12" text-anchor="middle">{}</text>').format(
            axis.place(tick), short_number(tick, 3)
        )
        for tick in ticks
    )
    return Markup('<li aria-hidden="true"><span></span><svg>{}</svg><span></span></li>').format(texts)


def _dot(index: int, dot: Dot, axis: _Axis, y: float) -> Markup:
    if not math.isfinite(dot.value):
        return Markup("")
    drawn = Markup("")
    if dot.interval:
        ends = [axis.place(end) for end in dot.interval]
        drawn = Markup('<line class="line s{}" x1="{:.2f}%" x2="{:.2f}%" y1="{y}" y2="{y}"/>').format(index, *ends, y=y)
    return drawn + Markup('<circle class="dot s{}" cx="{:.2f}%" cy="{}" r="4"/>').format(
        index, axis.place(dot.value), y
    )
