"""Charts as inline SVG or HTML: no script, no network, colours from the page's theme.

Each function returns a `<figure>` as Markup. Two series differ in colour (blue and orange, safe for colour-blind
readers) and in line style; exact values are in tooltips (`<title>`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from slipway.pages.axes import Frame, nice_ticks
from slipway.pages.numbers import format_number, format_share


@dataclass(frozen=True)
class Series:
    """One line: `x` and `y` of equal length; NaN leaves a gap."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True)
class Bins:
    """One histogram: bucket `i` is `[edges[i], edges[i + 1])` and holds `counts[i]`."""

    name: str
    edges: Sequence[float]
    counts: Sequence[float]


def figure(title: str, drawing: Markup, legend: Sequence[str] = (), note: str = "") -> Markup:
    """A drawing with its caption, and a legend for two series or more."""
    key = Markup("")
    if len(legend) > 1:
        swatch = Markup('<span><i class="swatch s{}"></i>{}</span>')
        names = Markup("").join(swatch.format(index, name) for index, name in enumerate(legend, 1))
        key = Markup('<span class="key">{}</span>').format(names)
    aside = Markup('<p class="note">{}</p>').format(note) if note else Markup("")
    return Markup("<figure><figcaption><span>{}</span>{}</figcaption>{}{}</figure>").format(title, key, drawing, aside)


def line_chart(
    title: str,
    series: Sequence[Series],
    *,
    x_label: str = "",
    y_label: str = "",
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
    diagonal: bool = False,
    marks: bool = False,
) -> Markup:
    """At most three lines over a common axis: training curves, ROC, precision against recall.

    The axes end at the data unless a range is given. `diagonal` draws the line y = x, and `marks` a dot with a tooltip
    at each point.
    """
    x_low, x_high = x_range or _extent([value for one in series for value in one.x])
    y_low, y_high = y_range or _extent([value for one in series for value in one.y])
    frame = Frame(_x_ticks(series, x_low, x_high), nice_ticks(y_low, y_high))
    parts = [frame.y_axis(y_label), frame.x_axis(x_label)]
    if diagonal:
        ends = (max(frame.x_ticks[0], frame.y_ticks[0]), min(frame.x_ticks[-1], frame.y_ticks[-1]))
        parts.append(Markup('<path class="reference" d="{}"/>').format(frame.line(ends, ends)))
    for index, one in enumerate(series, start=1):
        parts.append(Markup('<path class="line s{}" d="{}"/>').format(index, frame.line(one.x, one.y)))
        if marks:
            parts += [_mark(frame, index, one.name, x, y) for x, y in zip(one.x, one.y, strict=True)]
    return figure(title, frame.svg(title, *parts), [one.name for one in series])


def calibration_chart(
    title: str, predicted: Sequence[float], observed: Sequence[float], counts: Sequence[float]
) -> Markup:
    """Mean label against mean prediction per bucket; a dot's area shows the number of examples."""
    frame = Frame(nice_ticks(0, 1, 6), nice_ticks(0, 1, 6))
    most = max(counts, default=0) or 1
    parts = [
        frame.y_axis("mean label"),
        frame.x_axis("mean prediction"),
        Markup('<path class="reference" d="{}"/>').format(frame.line((0, 1), (0, 1))),
        Markup('<path class="line s1" d="{}"/>').format(frame.line(predicted, observed)),
    ]
    for x, y, count in zip(predicted, observed, counts, strict=True):
        if count and math.isfinite(x) and math.isfinite(y):
            tip = f"{format_number(count)} examples: predicted {format_number(x)}, observed {format_number(y)}"
            parts.append(
                Markup('<circle class="dot s1" cx="{:.1f}" cy="{:.1f}" r="{:.1f}"><title>{}</title></circle>').format(
                    frame.x(x), frame.y(y), 2 + 5 * math.sqrt(count / most), tip
                )
            )
    return figure(title, frame.svg(title, *parts))


def histogram(title: str, series: Sequence[Bins], *, x_label: str = "", mini: bool = False, note: str = "") -> Markup:
    """One histogram, or two overlaid; each shows shares of its own total, so that splits of different size compare.

    A bucket's area is its share, since buckets may differ in width. `mini` omits the axes, for a table cell.
    """
    low, high = _extent([edge for one in series for edge in one.edges])
    if low == high:
        low, high = low - 0.5, high + 0.5
    shapes = [_densities(one, (high - low) / 100) for one in series]
    top = max((height for shape in shapes for _, _, height, _ in shape), default=0) or 1.0
    if mini:
        frame = Frame((low, high), (0, top), width=160, height=34, left=0, right=0, top=1, bottom=1)
    else:
        ticks = [tick for tick in nice_ticks(low, high) if low <= tick <= high]
        frame = Frame(ticks, (0, top * 1.05), (low, high), left=12, height=190, bottom=40 if x_label else 22)
    parts = [] if mini else [frame.x_axis(x_label)]
    for index, (one, shape) in enumerate(zip(series, shapes, strict=True), start=1):
        parts += [_column(frame, index, one.name, column) for column in shape]
        if index > 1:
            parts.append(_outline(frame, index, shape))
    drawing = frame.svg(title or "histogram", *parts)
    if mini:
        return Markup('<span class="mini">{}</span>').format(drawing)
    return figure(title, drawing, [one.name for one in series], note)


def bar_list(title: str, rows: Sequence[tuple[str, float]], *, share_of: float | None = None, note: str = "") -> Markup:
    """Horizontal bars with their labels: top values, slices. With `share_of` the value is shown in percent of it."""
    most = max((value for _, value in rows if math.isfinite(value)), default=0) or 1
    items = [
        Markup('<li><span class="name" title="{0}">{0}</span><span class="bar"><i style="width:{1:.1f}%"></i></span>'
               '<span class="value">{2}</span></li>').format(
            label, 100 * max(value, 0) / most if math.isfinite(value) else 0,
            format_share(value / share_of) if share_of else format_number(value),
        )
        for label, value in rows
    ]  # fmt: skip
    return figure(title, Markup('<ul class="bars">{}</ul>').format(Markup("").join(items)), note=note)


def confusion_matrix(title: str, names: Sequence[str], counts: Sequence[Sequence[float]]) -> Markup:
    """`counts[i][j]`: examples of class `names[i]` predicted as `names[j]`; shaded by the share of their row."""
    head = Markup("").join(Markup('<th scope="col">{}</th>').format(name) for name in names)
    rows = []
    for name, row in zip(names, counts, strict=True):
        total = sum(row) or 1
        cells = Markup("").join(
            Markup('<td style="--share:{:.0f}%"><b>{}</b><small>{}</small></td>').format(
                100 * value / total, format_number(value), format_share(value / total)
            )
            for value in row
        )
        rows.append(Markup('<tr><th scope="row">{}</th>{}</tr>').format(name, cells))
    table = Markup(
        '<div class="scroll"><table class="confusion"><thead><tr><td></td><th colspan="{}">predicted</th></tr>'
        "<tr><th>label</th>{}</tr></thead><tbody>{}</tbody></table></div>"
    ).format(len(names), head, Markup("").join(rows))
    return figure(title, table)


def _extent(values: Sequence[float]) -> tuple[float, float]:
    finite = [value for value in values if math.isfinite(value)]
    return (min(finite), max(finite)) if finite else (0.0, 1.0)


def _x_ticks(series: Sequence[Series], low: float, high: float) -> Sequence[float]:
    """Ticks of the x axis; whole numbers, such as epochs, keep their first and last as ends."""
    ticks = nice_ticks(low, high, 6)
    whole = all(float(value).is_integer() for one in series for value in one.x)
    if whole and high > low:
        inner = [tick for tick in ticks if low < tick < high and float(tick).is_integer()]
        gap = (high - low) / 12
        return [low, *(tick for tick in inner if tick - low > gap and high - tick > gap), high]
    return ticks


def _mark(frame: Frame, index: int, name: str, x: float, y: float) -> Markup:
    if not (math.isfinite(x) and math.isfinite(y)):
        return Markup("")
    return Markup('<circle class="dot s{}" cx="{:.1f}" cy="{:.1f}" r="2.5"><title>{}: {}</title></circle>').format(
        index, frame.x(x), frame.y(y), name, f"{format_number(y)} at {format_number(x)}"
    )


def _densities(bins: Bins, narrowest: float) -> list[tuple[float, float, float, float]]:
    """Left, right, height and share of each bucket, which is at least `narrowest` wide."""
    total = sum(bins.counts) or 1
    columns = []
    for left, right, count in zip(bins.edges[:-1], bins.edges[1:], bins.counts, strict=True):
        if math.isfinite(left) and math.isfinite(right):
            width = max(right - left, narrowest)
            columns.append((left, left + width, count / total / width, count / total))
    return columns


def _column(frame: Frame, index: int, name: str, column: tuple[float, float, float, float]) -> Markup:
    left, right, height, share = column
    tip = f"{name}: {format_share(share)} in {format_number(left)} to {format_number(right)}"
    top = frame.y(height)
    width = max(frame.x(right) - frame.x(left) - 0.5, 0.5)
    shape = Markup('<rect class="column s%s" x="%.1f" y="%.1f" width="%.1f" height="%.1f"><title>%s</title></rect>')
    return shape % (index, frame.x(left), top, width, frame.y(0) - top, tip)


def _outline(frame: Frame, index: int, shape: Sequence[tuple[float, float, float, float]]) -> Markup:
    """The outline of a histogram, over another."""
    xs = [x for left, right, _, _ in shape for x in (left, right)]
    heights = [height for _, _, height, _ in shape for _ in range(2)]
    path = frame.line([*xs[:1], *xs, *xs[-1:]], [0.0, *heights, 0.0] if xs else [])
    return Markup('<path class="outline s{}" d="{}"/>').format(index, path)
