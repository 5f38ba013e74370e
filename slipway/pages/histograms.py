"""Histograms: one, or two over each other, whose buckets may differ in width."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from operator import itemgetter

from markupsafe import Markup

from slipway.pages.axes import Frame, Powers, extent, nice_ticks
from slipway.pages.charts import figure
from slipway.pages.numbers import format_number, format_share


@dataclass(frozen=True)
class Bins:
    """One histogram: bucket `i` is `[edges[i], edges[i + 1])` and holds `counts[i]`."""

    name: str
    edges: Sequence[float]
    counts: Sequence[float]


def histogram(
    title: str,
    series: Sequence[Bins],
    *,
    x_label: str = "",
    mini: bool = False,
    note: str = "",
    logarithm: bool = False,
    counts: bool = False,
) -> Markup:
    """One histogram, or two overlaid; each shows shares of its own total, so that splits of different size compare.

    A bucket's area is its share, since buckets may differ in width: the y axis is in percent per bucket where all are
    about as wide, else per round distance that fits into the narrowest, so that none is above 100 %. With `counts` it
    is in examples, and with `logarithm` in powers of ten. `mini` omits the axes, for a table cell.
    """
    low, high = extent([edge for one in series for edge in one.edges])
    if low == high:
        low, high = low - 0.5, high + 0.5
    ticks, narrowest = nice_ticks(low, high), (high - low) / 100
    unit, each = _unit([max(right - left, narrowest) for one in series for left, right in pairwise(one.edges)])
    shapes = [_densities(one, narrowest, unit * (1 if counts else 100), counts=counts) for one in series]
    heights = [height for shape in shapes for _, _, height, _ in shape if height > 0]
    scale = Powers.of(heights) if logarithm else None
    if scale:
        shapes = [[(left, right, scale.place(height), tip) for left, right, height, tip in one] for one in shapes]
    top, y_ticks = max(heights, default=0) or 1.0, scale.ticks if scale else nice_ticks(0, max(heights, default=1.0), 4)
    if mini:
        ends = (y_ticks[0], y_ticks[-1]) if scale else (0, top)
        frame = Frame((low, high), ends, width=160, height=34, left=0, right=0, top=1, bottom=1)
    else:
        shown = [tick for tick in ticks if low <= tick <= high]
        frame = Frame(shown, y_ticks, (low, high), height=190, bottom=40 if x_label else 22)
    y_label = f"{'values' if counts else '% of values'} per {each}"
    parts = [] if mini else [frame.y_axis(y_label, scale.texts if scale else ()), frame.x_axis(x_label)]
    foot = y_ticks[0]
    rectangle = Markup('<rect class="column s%s" x="%.1f" y="%.1f" width="%.1f" height="%.1f"><title>%s</title></rect>')
    for index, (one, shape) in enumerate(zip(series, shapes, strict=True), start=1):
        for left, right, height, said in shape:
            tip = f"{one.name}: {said} in {format_number(left)} to {format_number(right)}"
            width, y = max(frame.x(right) - frame.x(left) - 0.5, 0.5), frame.y(height)
            parts.append(rectangle % (index, frame.x(left), y, width, frame.y(foot) - y, tip))
        if index > 1:  # an outline, over the first
            xs = [x for left, right, _, _ in shape for x in (left, right)]
            tops = [height for _, _, height, _ in shape for _ in range(2)]
            path = frame.line([*xs[:1], *xs, *xs[-1:]], [foot, *tops, foot] if xs else [])
            parts.append(Markup('<path class="outline s{}" d="{}"/>').format(index, path))
    drawing = frame.svg(title or "histogram", *parts)
    if mini:
        return Markup('<span class="mini">{}</span>').format(drawing)
    return figure(title, drawing, [one.name for one in series], note)


def _unit(widths: Sequence[float]) -> tuple[float, str]:
    """By which width heights are measured, and its name: no wider than any bucket, so that no share exceeds its own."""
    widths = [width for width in widths if math.isfinite(width)]
    if not widths or max(widths) <= 1.2 * min(widths):
        return min(widths, default=1.0), "bucket"
    power = 10.0 ** math.floor(math.log10(min(widths)))
    unit = max(factor * power for factor in (1, 2, 5) if factor * power <= min(widths) * 1.001)
    return unit, f"{unit:g}"


def _densities(bins: Bins, narrowest: float, unit: float, *, counts: bool) -> list[tuple[float, float, float, str]]:
    """Left, right, height per unit and share or count of each finite bucket, which is at least `narrowest` wide.

    Tenths of a value that is frequent have no width and one place: they are one bucket.
    """
    total = sum(bins.counts) or 1
    columns = []
    for (left, right), same in groupby(zip(pairwise(bins.edges), bins.counts, strict=True), itemgetter(0)):
        if math.isfinite(left) and math.isfinite(right):
            count = sum(one for _, one in same)
            width = max(right - left, narrowest)
            share = count / total
            said = format_number(count) if counts else format_share(share)
            columns.append((left, left + width, (count if counts else share) / width * unit, said))
    return columns
