"""Charts as inline SVG or HTML: no script, no network, colours from the page's theme.

Each function returns a `<figure>` as Markup. Two series differ in colour (blue and orange, safe for colour-blind
readers) and in line style; exact values are in tooltips (`<title>`). The canvas is small (about 360 units wide) and
scales with its column, so that its text is about as large as the page's, on a phone too.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from slipway.pages.numbers import format_number, format_share, short_number

FEW_CLASSES = 4
# Widths and shades are attributes of SVG: a strict content policy lets no `style` pass.
_SHADE = Markup('<svg class="shade" opacity="{:.2f}" aria-hidden="true"></svg>')
_CONFUSED = Markup("<td>{}<b>{}</b><small>{}</small></td>")
_CONFUSED_MANY = Markup('<td title="{2}">{0}<b>{1}</b></td>')
_BAR = Markup('<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">{}</svg>')
_FILLED = Markup('<rect class="{}" x="{:.2f}" width="{:.2f}" height="8"/>')
_FRAMED = Markup('<rect class="over" y="0.8" width="{:.1f}" height="6.4"/>')


@dataclass(frozen=True)
class Series:
    """One line, or dots alone: `x` and `y` of equal length; NaN leaves a gap.

    With `counts`, a point's area shows its count; with `bounds`, a stroke through it shows its interval.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    counts: Sequence[float] = ()
    bounds: Sequence[tuple[float, float]] = ()
    dots: bool = False


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
    x_names: Sequence[str] = (),
    events: Sequence[tuple[float, str]] = (),
) -> Markup:
    """At most three lines over a common axis: training curves, ROC, precision against recall.

    The axes end at the data unless a range is given. `diagonal` draws the line y = x, and `marks` a dot with a tooltip
    at each point. `x_names` stand for the places 1, 2, … on the x axis; `events` are upright lines with a text.
    """
    low, high = x_range or _extent([value for one in series for value in one.x])
    x_ticks: Sequence[float] = nice_ticks(low, high, 6)
    whole = low < high and not x_range and all(float(value).is_integer() for one in series for value in one.x)
    if whole:  # epochs
        x_ticks = [tick for tick in x_ticks if low <= tick <= high and tick.is_integer()]
    reach = [value for one in series for pair in one.bounds for value in pair]
    y_ticks = nice_ticks(*(y_range or _extent([*reach, *(value for one in series for value in one.y)])))
    if x_names:
        places = range(1, len(x_names) + 1, math.ceil(len(x_names) / 5))
        frame = _Frame(places, y_ticks, (0.5, len(x_names) + 0.5), bottom=40 if x_label else 22)
        parts = [frame.y_axis(y_label), frame.x_axis(x_label, [x_names[place - 1] for place in places])]
    else:
        frame = _Frame(x_ticks, y_ticks, (low, high) if whole else None)
        parts = [frame.y_axis(y_label), frame.x_axis(x_label)]
    upright = Markup('<path class="reference" d="M{0:.1f} {1:.1f}V{2:.1f}"/><g class="tick"><text x="{3:.1f}" y="{4}"'
                     ' text-anchor="{5}">{6}</text></g>')  # fmt: skip
    for place, text in events:
        x, is_left = frame.x(place), frame.x(place) < frame.width / 2
        beside = x + 4 if is_left else x - 4
        parts.append(upright.format(x, frame.top, frame.height - frame.bottom, beside, frame.top - 1,
                                    "start" if is_left else "end", text))  # fmt: skip
    if diagonal:
        ends = (max(x_ticks[0], y_ticks[0]), min(x_ticks[-1], y_ticks[-1]))
        parts.append(Markup('<path class="reference" d="{}"/>').format(frame.line(ends, ends)))
    for index, one in enumerate(series, start=1):
        if not one.dots:
            parts.append(Markup('<path class="line s{}" d="{}"/>').format(index, frame.line(one.x, one.y)))
        for x, ends in zip(one.x, one.bounds, strict=False):
            parts.append(Markup('<path class="interval s{}" d="{}"/>').format(index, frame.line((x, x), ends)))
        if marks or one.dots:
            parts += _marks(frame, index, one)
    return figure(title, frame.svg(title, *parts), [one.name for one in series])


def bar(start: float, length: float, kind: str = "filled") -> Markup:
    """A bar from one place to another, in percent of its width; never too short to be seen."""
    return _BAR.format(_FILLED.format(kind, start, max(length, 0.7)))


def calibration_chart(
    title: str, predicted: Sequence[float], observed: Sequence[float], counts: Sequence[float]
) -> Markup:
    """Mean label against mean prediction per bucket; a dot's area shows the number of examples."""
    return line_chart(
        title,
        [Series("mean label", predicted, observed, counts)],
        x_label="mean prediction",
        y_label="mean label",
        x_range=(0, 1),
        y_range=(0, 1),
        diagonal=True,
        marks=True,
    )


def histogram(title: str, series: Sequence[Bins], *, x_label: str = "", mini: bool = False, note: str = "") -> Markup:
    """One histogram, or two overlaid; each shows shares of its own total, so that splits of different size compare.

    A bucket's area is its share, since buckets may differ in width: the y axis is in percent per bucket where all are
    about as wide, else per distance of two ticks. `mini` omits the axes, for a table cell.
    """
    low, high = _extent([edge for one in series for edge in one.edges])
    if low == high:
        low, high = low - 0.5, high + 0.5
    shapes = [_densities(one, (high - low) / 100) for one in series]
    top = max((height for shape in shapes for _, _, height, _ in shape), default=0) or 1.0
    if mini:
        frame = _Frame((low, high), (0, top), width=160, height=34, left=0, right=0, top=1, bottom=1)
    else:
        ticks = nice_ticks(low, high)
        unit = _common_width(series) or ticks[1] - ticks[0]
        shown = [tick for tick in ticks if low <= tick <= high]
        y_ticks = nice_ticks(0, 100 * unit * top, 4)
        frame = _Frame(shown, y_ticks, (low, high), height=190, bottom=40 if x_label else 22)
        shapes = [[(left, right, 100 * unit * height, share) for left, right, height, share in one] for one in shapes]
    parts = [] if mini else [frame.y_axis(f"% per {unit:g}"), frame.x_axis(x_label)]
    rectangle = Markup('<rect class="column s%s" x="%.1f" y="%.1f" width="%.1f" height="%.1f"><title>%s</title></rect>')
    for index, (one, shape) in enumerate(zip(series, shapes, strict=True), start=1):
        for left, right, height, share in shape:
            tip = f"{one.name}: {format_share(share)} in {format_number(left)} to {format_number(right)}"
            width, y = max(frame.x(right) - frame.x(left) - 0.5, 0.5), frame.y(height)
            parts.append(rectangle % (index, frame.x(left), y, width, frame.y(0) - y, tip))
        if index > 1:  # an outline, over the first
            xs = [x for left, right, _, _ in shape for x in (left, right)]
            heights = [height for _, _, height, _ in shape for _ in range(2)]
            path = frame.line([*xs[:1], *xs, *xs[-1:]], [0.0, *heights, 0.0] if xs else [])
            parts.append(Markup('<path class="outline s{}" d="{}"/>').format(index, path))
    drawing = frame.svg(title or "histogram", *parts)
    if mini:
        return Markup('<span class="mini">{}</span>').format(drawing)
    return figure(title, drawing, [one.name for one in series], note)


def bar_list(title: str, rows: Sequence[tuple[str, float]], *, share_of: float | None = None, note: str = "") -> Markup:
    """Horizontal bars with their labels: top values, slices. With `share_of` the value is shown in percent of it."""
    most = max((value for _, value in rows if math.isfinite(value)), default=0) or 1
    item = Markup('<li><span class="name" title="{0}">{0}</span>{1}<span class="value">{2}</span></li>')
    items = [
        item.format(
            label,
            bar(0, 100 * max(value, 0) / most if math.isfinite(value) else 0),
            format_share(value / share_of) if share_of else format_number(value),
        )
        for label, value in rows
    ]
    return figure(title, Markup('<ul class="bars">{}</ul>').format(Markup("").join(items)), note=note)


def overlaid_bars(
    title: str, names: tuple[str, str], rows: Sequence[tuple[str, float, float]], note: str = ""
) -> Markup:
    """Two distributions by cell, in shares: the first as filled bars, the second as frames over them."""
    most = max((share for _, *both in rows for share in both), default=0) or 1
    item = Markup(
        '<li><span class="name" title="{0}">{0}</span><span title="{2}">{1}</span><span class="value">{3}</span></li>'
    )
    items = [
        item.format(
            cell,
            _BAR.format(_FILLED.format("filled", 0, 100 * first / most) + _FRAMED.format(100 * second / most)),
            f"{names[0]} {format_share(first)}, {names[1]} {format_share(second)}",
            f"{format_share(first)} → {format_share(second)}",
        )
        for cell, first, second in rows
    ]
    return figure(title, Markup('<ul class="bars both">{}</ul>').format(Markup("").join(items)), names, note)


def confusion_matrix(title: str, names: Sequence[str], counts: Sequence[Sequence[float]]) -> Markup:
    """`counts[i][j]`: examples of class `names[i]` predicted as `names[j]`; shaded by the share of their row.

    With more than a few classes it is as wide as the page, and a share is in the cell's tooltip.
    """
    many = len(names) > FEW_CLASSES
    head = Markup("").join(Markup('<th scope="col">{}</th>').format(name) for name in names)
    cell = _CONFUSED_MANY if many else _CONFUSED
    rows = []
    for name, row in zip(names, counts, strict=True):
        total = sum(row) or 1
        cells = [
            cell.format(_SHADE.format(0.35 * one / total), format_number(one), format_share(one / total)) for one in row
        ]
        rows.append(Markup('<tr><th scope="row">{}</th>{}</tr>').format(name, Markup("").join(cells)))
    table = Markup(
        '<div class="scroll" tabindex="0"><table class="confusion{}"><thead>'
        '<tr><td></td><th colspan="{}">predicted</th></tr>'
        "<tr><th>label</th>{}</tr></thead><tbody>{}</tbody></table></div>"
    ).format(" many" if many else "", len(names), head, Markup("").join(rows))
    return figure(title, table)


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


@dataclass(frozen=True)
class _Frame:
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
        low, high = self.x_range or (self.x_ticks[0], self.x_ticks[-1])
        return self.left + (value - low) / (high - low) * (self.width - self.left - self.right)

    def y(self, value: float) -> float:
        low, high = self.y_ticks[0], self.y_ticks[-1]
        return self.height - self.bottom - (value - low) / (high - low) * (self.height - self.top - self.bottom)

    def x_axis(self, label: str, texts: Sequence[str] = ()) -> Markup:
        """The base line, tick labels and the axis label."""
        foot, end = self.height - self.bottom, self.width - self.right
        ticks = Markup("").join(
            Markup('<text x="{:.1f}" y="{:.1f}">{}</text>').format(self.x(tick), foot + 16, text)
            for tick, text in zip(self.x_ticks, texts or _tick_texts(self.x_ticks), strict=True)
        )
        return Markup(
            '<path class="base" d="M{:.1f} {:.1f}H{:.1f}"/><g class="tick" text-anchor="middle">{}</g>'
            '<text class="axis" text-anchor="middle" x="{:.1f}" y="{:.1f}">{}</text>'
        ).format(self.left, foot, end, ticks, (self.left + end) / 2, self.height - 5, label)

    def y_axis(self, label: str) -> Markup:
        """A grid line and a label for each tick, and the axis label on its side."""
        end = self.width - self.right
        ticks = Markup("").join(
            Markup('<path class="grid" d="M{:.1f} {:.1f}H{:.1f}"/><text x="{:.1f}" y="{:.1f}">{}</text>').format(
                self.left, self.y(tick), end, self.left - 7, self.y(tick) + 3.5, text
            )
            for tick, text in zip(self.y_ticks, _tick_texts(self.y_ticks), strict=True)
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


def _extent(values: Sequence[float]) -> tuple[float, float]:
    finite = [value for value in values if math.isfinite(value)]
    return (min(finite), max(finite)) if finite else (0.0, 1.0)


def _tick_texts(ticks: Sequence[float]) -> list[str]:
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


def _marks(frame: _Frame, index: int, series: Series) -> list[Markup]:
    dot = Markup('<circle class="dot s{}" cx="{:.1f}" cy="{:.1f}" r="{:.1f}"><title>{}</title></circle>')
    most, found = max(series.counts, default=0) or 1, []
    for x, y, count in zip(series.x, series.y, series.counts or [1] * len(series.x), strict=True):
        if math.isfinite(x) and math.isfinite(y) and count:
            many = f" ({format_number(count)} examples)" if series.counts else ""
            tip = f"{series.name}: {format_number(y)} at {format_number(x)}{many}"
            radius = 2 + 5 * math.sqrt(count / most) if series.counts else 2.5
            found.append(dot.format(index, frame.x(x), frame.y(y), radius, tip))
    return found


def _common_width(series: Sequence[Bins]) -> float:
    """The width of the buckets, rounded, if all are about as wide; else 0."""
    widths = [right - left for one in series for left, right in pairwise(one.edges)]
    if not widths or max(widths) > 1.2 * min(widths):
        return 0.0
    return float(f"{max(widths):.2g}")


def _densities(bins: Bins, narrowest: float) -> list[tuple[float, float, float, float]]:
    """Left, right, height and share of each finite bucket, which is at least `narrowest` wide."""
    total = sum(bins.counts) or 1
    columns = []
    for left, right, count in zip(bins.edges[:-1], bins.edges[1:], bins.counts, strict=True):
        if math.isfinite(left) and math.isfinite(right):
            width = max(right - left, narrowest)
            columns.append((left, left + width, count / total / width, count / total))
    return columns
