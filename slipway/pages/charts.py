"""Charts as inline SVG or HTML: no script, no network, colours from the page's theme.

Each function returns a `<figure>` as Markup. Two series differ in colour (blue and orange, safe for colour-blind
readers) and in line style; exact values are in tooltips (`<title>`). The canvas is small (about 360 units wide) and
scales with its column, so that its text is about as large as the page's, on a phone too.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from slipway.pages.axes import Frame, Powers, extent, nice_ticks, tick_texts
from slipway.pages.numbers import format_number, format_share

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
    low, high = x_range or extent([value for one in series for value in one.x])
    x_ticks: Sequence[float] = nice_ticks(low, high, 6)
    whole = low < high and not x_range and all(float(value).is_integer() for one in series for value in one.x)
    if whole:  # epochs
        x_ticks = [tick for tick in x_ticks if low <= tick <= high and tick.is_integer()]
    reach = [value for one in series for pair in one.bounds for value in pair]
    y_ticks = nice_ticks(*(y_range or extent([*reach, *(value for one in series for value in one.y)])))
    left = 44 + 6 * max(0, max(map(len, tick_texts(y_ticks))) - 4)  # room for the axis label beside long figures
    if x_names:
        places = range(1, len(x_names) + 1, math.ceil(len(x_names) / 5))
        frame = Frame(places, y_ticks, (0.5, len(x_names) + 0.5), left=left, bottom=40 if x_label else 22)
        parts = [frame.y_axis(y_label), frame.x_axis(x_label, [x_names[place - 1] for place in places])]
    else:
        frame = Frame(x_ticks, y_ticks, (low, high) if whole else None, left=left)
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


def bar_list(
    title: str,
    rows: Sequence[tuple[str, float]],
    *,
    share_of: float | None = None,
    note: str = "",
    logarithm: bool = False,
) -> Markup:
    """Horizontal bars with their labels: top values, slices. With `share_of` the value is shown in percent of it.

    With `logarithm` their lengths go by powers of ten, from one below the smallest value.
    """
    lengths = _lengths([max(value, 0) if math.isfinite(value) else 0.0 for _, value in rows], logarithm=logarithm)
    item = Markup('<li><span class="name" title="{0}">{0}</span>{1}<span class="value">{2}</span></li>')
    items = [
        item.format(
            label,
            bar(0, length),
            format_share(value / share_of) if share_of else format_number(value),
        )
        for (label, value), length in zip(rows, lengths, strict=True)
    ]
    return figure(title, Markup('<ul class="bars">{}</ul>').format(Markup("").join(items)), note=note)


def overlaid_bars(
    title: str,
    names: tuple[str, str],
    rows: Sequence[tuple[str, float, float]],
    note: str = "",
    *,
    show: Callable[[float], str] = format_share,
    logarithm: bool = False,
) -> Markup:
    """Two distributions by cell, in shares: the first as filled bars, the second as frames over them."""
    lengths = _lengths([share for _, *both in rows for share in both], logarithm=logarithm)
    item = Markup(
        '<li><span class="name" title="{0}">{0}</span><span title="{2}">{1}</span><span class="value">{3}</span></li>'
    )
    items = [
        item.format(
            cell,
            _BAR.format(_FILLED.format("filled", 0, ends[0]) + _FRAMED.format(ends[1])),
            f"{names[0]} {show(first)}, {names[1]} {show(second)}",
            f"{show(first)} → {show(second)}",
        )
        for (cell, first, second), ends in zip(rows, zip(lengths[::2], lengths[1::2], strict=True), strict=True)
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


def _marks(frame: Frame, index: int, series: Series) -> list[Markup]:
    dot = Markup('<circle class="dot s{}" cx="{:.1f}" cy="{:.1f}" r="{:.1f}"><title>{}</title></circle>')
    most, found = max(series.counts, default=0) or 1, []
    for x, y, count in zip(series.x, series.y, series.counts or [1] * len(series.x), strict=True):
        if math.isfinite(x) and math.isfinite(y) and count:
            many = f" ({format_number(count)} examples)" if series.counts else ""
            tip = f"{series.name}: {format_number(y)} at {format_number(x)}{many}"
            radius = 2 + 5 * math.sqrt(count / most) if series.counts else 2.5
            found.append(dot.format(index, frame.x(x), frame.y(y), radius, tip))
    return found


def _lengths(values: Sequence[float], *, logarithm: bool) -> list[float]:
    """The lengths of bars, in percent of the longest; 0 has none."""
    if logarithm:
        scale = Powers.of([value for value in values if value > 0])
        values = [scale.place(value) - scale.low for value in values]
    most = max(values, default=0) or 1
    return [100 * value / most for value in values]
