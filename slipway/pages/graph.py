"""The steps of a run as a graph: one row for each step, with edges on the left and a bar for its time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from slipway.pages.numbers import format_seconds

ROW, LANE = 34, 18
_SIGNS = {"succeeded": "✓", "failed": "✕", "running": "…", "pending": "·", "skipped": "–", "unknown": "?"}  # noqa: RUF001


@dataclass(frozen=True)
class Node:
    """One step; `start` is in seconds since the run's start."""

    name: str
    state: str
    needs: Sequence[str] = ()
    start: float | None = None
    seconds: float | None = None
    cached: bool = False


def step_graph(nodes: Sequence[Node]) -> Markup:
    """The graph of steps with states and times; each step comes after those it needs."""
    lanes, edges = _lay_out(nodes)
    width = LANE * (max([*lanes, *(lane for _, _, lane in edges)], default=0) + 1)
    height = ROW * len(nodes)
    drawn = Markup("").join(Markup('<path d="{}"/>').format(_edge(lanes, *edge)) for edge in edges)
    dots = Markup("").join(
        Markup('<circle class="{}" cx="{}" cy="{}" r="5"/>').format(_kind(node), _x(lanes[row]), _y(row))
        for row, node in enumerate(nodes)
    )
    gutter = Markup(
        '<svg aria-hidden="true" width="{0}" height="{1}" viewBox="0 0 {0} {1}"><g class="edges">{2}</g>{3}</svg>'
    ).format(width, height, drawn, dots)
    end = max((node.start + (node.seconds or 0) for node in nodes if node.start is not None), default=0) or 1
    rows = Markup("").join(_row(node, end) for node in nodes)
    return Markup('<div class="steps" style="--gutter:{}px">{}<ol>{}</ol></div>').format(width + 8, gutter, rows)


def _row(node: Node, end: float) -> Markup:
    bar = Markup("")
    if node.start is not None:
        bar = Markup('<i class="{}" style="margin-left:{:.2f}%;width:{:.2f}%"></i>').format(
            _kind(node), 100 * max(node.start, 0) / end, 100 * (node.seconds or 0) / end
        )
    time = "cached" if node.cached else format_seconds(node.seconds)
    if node.state in ("pending", "skipped", "running"):
        time = node.state
    return Markup(
        '<li><span class="name">{}<b class="{}" title="{}">{}</b></span><span class="bar">{}</span>'
        '<span class="value">{}</span></li>'
    ).format(node.name.replace("_", " ").capitalize(), _kind(node), node.state, _SIGNS.get(node.state, ""), bar, time)


def _kind(node: Node) -> str:
    return "cached" if node.cached and node.state == "succeeded" else node.state


def _direct_needs(nodes: Sequence[Node]) -> list[set[int]]:
    """The rows that each row needs directly (the transitive reduction)."""
    rows = {node.name: row for row, node in enumerate(nodes)}
    above: list[set[int]] = []
    direct: list[set[int]] = []
    for row, node in enumerate(nodes):
        needs = {rows[name] for name in node.needs if rows.get(name, row) < row}
        implied: set[int] = set().union(*(above[need] for need in needs))
        direct.append(needs - implied)
        above.append(needs | implied)
    return direct


def _lay_out(nodes: Sequence[Node]) -> tuple[list[int], list[tuple[int, int, int]]]:
    """A lane for each row, and edges as (upper row, lower row, lane in between); no edge crosses a dot."""
    lanes: list[int] = []
    edges: list[tuple[int, int, int]] = []
    taken: set[tuple[int, int]] = set()

    def free(lane: int, rows: range) -> bool:
        return all((row, lane) not in taken for row in rows)

    for row, needs in enumerate(_direct_needs(nodes)):
        preferred = sorted(lanes[need] for need in needs)
        others = range(len(nodes))
        lane = next(
            lane for lane in [*preferred, *others] if free(lane, range(max(needs, default=row - 1) + 1, row + 1))
        )
        for need in sorted(needs):
            between = range(need + 1, row)
            via = next(way for way in [lanes[need], lane, *others] if free(way, between))
            edges.append((need, row, via))
            taken.update((passed, via) for passed in between)
        lanes.append(lane)
        taken.add((row, lane))
    return lanes, edges


def _edge(lanes: Sequence[int], upper: int, lower: int, via: int) -> str:
    path = f"M{_x(lanes[upper])} {_y(upper)}"
    x = _x(lanes[upper])
    for row, lane in ((upper + 1, via), (lower, lanes[lower])):
        if row > lower or (row == lower and lane != lanes[lower]):
            continue
        if _x(lane) == x:
            path += f"V{_y(row)}"
        else:
            turn = _y(row) - ROW
            path += f"V{turn}C{x} {turn + ROW / 2} {_x(lane)} {turn + ROW / 2} {_x(lane)} {_y(row)}"
            x = _x(lane)
    return path


def _x(lane: int) -> float:
    return lane * LANE + LANE / 2


def _y(row: int) -> float:
    return row * ROW + ROW / 2
