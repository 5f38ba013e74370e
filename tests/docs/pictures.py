"""The pictures of Kubeflow's UI in docs/kubeflow.md that no browser took: its graph, and its comparison of runs.

`python -m tests.docs.pictures` draws the graph anew, and with `OLDER NEWER`, folders of artifacts of local runs such as
`.slipway/artifacts/slipway-training-…`, the comparison too.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from markupsafe import Markup

from settings.load import PROJECT
from tests.compiled.graph import BOX, drawn, lay_out
from tests.compiled.specs import golden_spec, tasks
from tests.fakes.kubeflow.artifacts import read_properties

GRAPH, COMPARISON = PROJECT / "docs" / "graph.svg", PROJECT / "docs" / "comparison.svg"
_MARGIN, _HEAD = 20, 60
_ROW, _NAME, _COLUMN = 28, 280, 300

_SVG = Markup(
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" font-family="sans-serif">'
    '<rect width="100%" height="100%" fill="#fff"/>{content}</svg>\n'
)
_TEXT = Markup('<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" fill="#202124"{style}>{text}</text>')
_TASK = Markup('<rect x="{x:.0f}" y="{y:.0f}" width="224" height="48" rx="6" fill="#e8f0fe" stroke="#1a73e8"/>')
_ARTIFACT = Markup('<rect x="{x:.0f}" y="{y:.0f}" width="224" height="48" rx="24" fill="#f8f9fa" stroke="#9aa0a6"/>')
# As React Flow draws it, whatever way dagre has for it.
_EDGE = Markup(
    '<path d="M{x:.0f} {y:.0f}C{x:.0f} {half:.0f} {end:.0f} {half:.0f} {end:.0f} {below:.0f}" fill="none" '
    'stroke="#9aa0a6"/>'
)
_LINE = Markup('<path d="M{x:.0f} {y:.0f}H{end:.0f}" stroke="#dadce0"/>')
_BOLD, _MIDDLE = Markup(' font-weight="bold"'), Markup(' text-anchor="middle"')


def draw_graph() -> str:
    """The group of all steps, opened: boxes and edges where the UI has them."""
    spec = golden_spec("kubeflow")
    boxes, edges = drawn(spec)
    titles = {name.replace("_", "-"): task["taskInfo"]["name"] for name, task in tasks(spec).items()}
    layout = lay_out(boxes, edges)
    parts = [_TEXT.format(x=_MARGIN, y=40, size=26, style="", text="Layers  |  root  →  slipway-training")]
    for tail, head in edges:
        above, below = layout.boxes[tail], layout.boxes[head]
        y, end = above["y"] + _HEAD + BOX[1] / 2, below["y"] + _HEAD - BOX[1] / 2
        x, to = above["x"] + _MARGIN, below["x"] + _MARGIN
        parts.append(_EDGE.format(x=x, y=y, end=to, half=(y + end) / 2, below=end))
    for box, middle in layout.boxes.items():
        x, y = middle["x"] + _MARGIN, middle["y"] + _HEAD
        task, _, artifact = box.partition(".")
        parts.append((_ARTIFACT if artifact else _TASK).format(x=x - BOX[0] / 2, y=y - BOX[1] / 2))
        parts.append(_TEXT.format(x=x, y=y + 6, size=19, style=_MIDDLE, text=artifact or titles[task]))
    return _SVG.format(
        width=layout.width + 2 * _MARGIN, height=layout.height + _HEAD + _MARGIN, content=Markup("").join(parts)
    )


class Column(NamedTuple):
    """A column of the comparison: the scalars of one artifact of one run."""

    run: str
    artifact: str
    scalars: dict[str, float]


def read_columns(run: str, artifacts: Path) -> list[Column]:
    """What the UI compares of a run (frontend/src/lib/v2/CompareUtils.ts)."""
    shown = {
        "train-model": ("Train the model", "training_metrics"),
        "evaluate-model": ("Evaluate the model", "metrics"),
    }
    return [
        Column(run, f"{title} > {name}", read_properties(artifacts / step / "executor_output.json")[name])
        for step, (title, name) in shown.items()
    ]


def draw_comparison(columns: list[Column]) -> str:
    """The table of scalars on the page "Compare runs"."""
    counts = Counter(name for column in columns for name in column.scalars)
    names = sorted(counts, key=lambda name: (-counts[name], name))
    parts = []
    for place, column in enumerate(columns):
        x = _MARGIN + _NAME + place * _COLUMN
        if column.run not in [one.run for one in columns[:place]]:
            parts.append(_TEXT.format(x=x, y=30, size=15, style=_BOLD, text=column.run))
        parts.append(_TEXT.format(x=x, y=56, size=14, style=_BOLD, text=column.artifact))
        for row, name in enumerate(names):
            value = column.scalars.get(name)
            text = "" if value is None else f"{value:.10g}"
            parts.append(_TEXT.format(x=x, y=86 + row * _ROW, size=14, style="", text=text))
    width = 2 * _MARGIN + _NAME + len(columns) * _COLUMN
    for row, name in enumerate(names):
        y = 86 + row * _ROW
        parts.append(_TEXT.format(x=_MARGIN, y=y, size=14, style=_BOLD, text=name))
        parts.append(_LINE.format(x=_MARGIN, y=y - 20, end=width - _MARGIN))
    return _SVG.format(width=width, height=86 + len(names) * _ROW, content=Markup("").join(parts))


if __name__ == "__main__":
    GRAPH.write_text(draw_graph(), encoding="utf-8")
    if artifacts := [Path(folder) for folder in sys.argv[1:]]:
        runs = zip(("taxi, 12 epochs", "taxi, embedding 16, 4 epochs"), artifacts, strict=True)
        compared = [column for run, folder in runs for column in read_columns(run, folder)]
        COMPARISON.write_text(draw_comparison(compared), encoding="utf-8")
