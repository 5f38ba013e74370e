"""The steps of a run as a graph: one row for each step, with edges on the left and a bar for its time."""

from collections.abc import Sequence
from itertools import pairwise

from markupsafe import Markup

from slipway.pages.numbers import format_seconds
from slipway.runs.record import Step

ROW, LANE = 34, 18
_SIGNS = {"succeeded": "✓", "failed": "✕", "running": "…", "pending": "·", "skipped": "–", "unknown": "?"}  # noqa: RUF001


def step_graph(steps: Sequence[Step], run_started: float) -> Markup:
    """The graph of steps with states and times; each step comes after those it needs."""
    lanes, edges = _lay_out(steps)
    width = LANE * (max([*lanes, *(lane for _, _, lane in edges)], default=0) + 1)
    height = ROW * len(steps)
    drawn = Markup("").join(Markup('<path d="{}"/>').format(_edge(lanes, *edge)) for edge in edges)
    dots = Markup("").join(
        Markup('<circle class="{}" cx="{}" cy="{}" r="5"/>').format(_kind(step), *_place(lanes[row], row))
        for row, step in enumerate(steps)
    )
    gutter = Markup(
        '<svg aria-hidden="true" width="{0}" height="{1}" viewBox="0 0 {0} {1}"><g class="edges">{2}</g>{3}</svg>'
    ).format(width, height, drawn, dots)
    ends = [step.started + (step.seconds or 0) - run_started for step in steps if step.started is not None]
    rows = Markup("").join(_row(step, run_started, max(ends, default=0) or 1) for step in steps)
    return Markup('<div class="steps" style="--gutter:{}px">{}<ol>{}</ol></div>').format(width + 8, gutter, rows)


def _row(step: Step, run_started: float, run_seconds: float) -> Markup:
    bar = Markup("")
    if step.started is not None:
        bar = Markup('<i class="{}" style="margin-left:{:.2f}%;width:{:.2f}%"></i>').format(
            _kind(step),
            100 * max(step.started - run_started, 0) / run_seconds,
            100 * (step.seconds or 0) / run_seconds,
        )
    time = "cached" if step.cached else format_seconds(step.seconds)
    if step.state in ("pending", "skipped", "running"):
        time = step.state
    return Markup(
        '<li><span class="name">{}<b class="{}" title="{}">{}</b></span><span class="bar">{}</span>'
        '<span class="value">{}</span></li>'
    ).format(step.name.replace("_", " ").capitalize(), _kind(step), step.state, _SIGNS[step.state], bar, time)


def _kind(step: Step) -> str:
    return "cached" if step.cached and step.state == "succeeded" else step.state


def _direct_needs(steps: Sequence[Step]) -> list[set[int]]:
    """The rows that each row needs directly (the transitive reduction)."""
    rows = {step.name: row for row, step in enumerate(steps)}
    above: list[set[int]] = []
    direct: list[set[int]] = []
    for row, step in enumerate(steps):
        needs = {rows[name] for name in step.needs if rows.get(name, row) < row}
        implied: set[int] = set().union(*(above[need] for need in needs))
        direct.append(needs - implied)
        above.append(needs | implied)
    return direct


def _lay_out(steps: Sequence[Step]) -> tuple[list[int], list[tuple[int, int, int]]]:
    """A lane for each row, and edges as (upper row, lower row, lane in between); no edge crosses a dot."""
    lanes: list[int] = []
    edges: list[tuple[int, int, int]] = []
    taken: set[tuple[int, int]] = set()
    all_lanes = list(range(len(steps)))

    def first_free(preferred: list[int], rows: range) -> int:
        return next(lane for lane in preferred + all_lanes if all((row, lane) not in taken for row in rows))

    for row, needs in enumerate(_direct_needs(steps)):
        lane = first_free(sorted(lanes[need] for need in needs), range(max(needs, default=row - 1) + 1, row + 1))
        for need in sorted(needs):
            between = range(need + 1, row)
            via = first_free([lanes[need], lane], between)
            edges.append((need, row, via))
            taken.update((passed, via) for passed in between)
        lanes.append(lane)
        taken.add((row, lane))
    return lanes, edges


def _edge(lanes: Sequence[int], upper: int, lower: int, via: int) -> str:
    between = [] if lower == upper + 1 else [_place(via, upper + 1), _place(via, lower - 1)]
    points = [_place(lanes[upper], upper), *between, _place(lanes[lower], lower)]
    path = "M{} {}".format(*points[0])
    for (x, y), (next_x, next_y) in pairwise(points):
        middle = (y + next_y) / 2
        path += f"C{x} {middle} {next_x} {middle} {next_x} {next_y}"  # straight, if it stays in its lane
    return path


def _place(lane: int, row: int) -> tuple[float, float]:
    return lane * LANE + LANE / 2, row * ROW + ROW / 2
