"""A search as a page: trials over time, what decides, slices of the space, and all trials."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from slipway.pages.charts import Series, bar_list, line_chart
from slipway.pages.numbers import MISSING, format_number, format_seconds
from slipway.pages.page import badge, facts, grid, notice, render_page, section, table, tiles
from slipway.tuning.goal import Goal
from slipway.tuning.result import TuningFile
from slipway.tuning.trials import Trial

# Magnitudes between the smallest and the largest value from which on an axis is logarithmic.
LOG_FROM = 30
_CONFIRMED = "Mean of further seeds, each with other rows held back: the first seed's value chose the trial."
# A trial is far behind the best if it is so many times as far as the median.
FAR = 5


def render_tuning(result: TuningFile) -> str:
    """The page as HTML."""
    tuned, complete = result.tuned, [one for one in result.trials if one.value is not None]
    goal, value = tuned.goal, tuned.value if tuned.seeds else tuned.first
    remark = f"target {format_number(tuned.target)}" if tuned.target is not None else ""
    parts = [
        notice(f"{tuned.reason[0].upper()}{tuned.reason[1:]}.", "good" if tuned.is_met else "warn"),
        tiles(
            [
                (tuned.metric.replace("_", " "), format_number(value), remark),
                ("trial 0", format_number(tuned.own), "module.yaml's own when the search began"),
                ("trials", f"{tuned.trials:,}", f"{tuned.pruned} pruned, {tuned.failed} failed"),
                ("time", format_seconds(tuned.seconds), "of all trainings"),
            ]
        ),
        section(
            f"The winner, trial {tuned.winner}",
            facts(
                [
                    (f"{name} (by hand)" if name in tuned.by_hand else name, _text(value))
                    for name, value in tuned.values.flat().items()
                ]
            ),
            note=_CONFIRMED
            if tuned.seeds
            else "Not confirmed: the value is that of the first seed, which chose the trial.",
        ),
    ]
    if complete:
        parts.append(section("Trials", grid(_over_time(complete, goal), *_importance(result))))
        near = _near(complete, goal)
        left_out = len(complete) - len(near)
        note = f"Without {left_out} of the complete trials, which are far behind." if left_out else ""
        if slices := _slices(near, tuned.metric):
            parts.append(section("Slices of the space", grid(*slices), note=note))
    parts.append(section("All trials", _table(result)))
    return render_page("Tuning", Markup("").join(parts))


def _over_time(complete: Sequence[Trial], goal: Goal) -> Markup:
    best, line = math.inf, []
    for one in complete:
        best = min(best, goal.cost(one.value))
        line.append(best if goal.better == "low" else -best)
    numbers = [float(one.number) for one in complete]
    values = [one.value or 0.0 for one in complete]
    series = [Series("best so far", numbers, line), Series("trial", numbers, values, dots=True)]
    return line_chart("Trials over time", series, x_label="trial", y_label=goal.metric)


def _importance(result: TuningFile) -> list[Markup]:
    shares = sorted(result.importance.items(), key=lambda item: -item[1])
    return [bar_list("What decides", shares, share_of=1.0, note="PED-ANOVA, complete trials")] if shares else []


def _near(complete: Sequence[Trial], goal: Goal) -> list[Trial]:
    """Those that are not far behind, beside which the others could not be told apart."""
    costs = [goal.cost(one.value) for one in complete]
    far = min(costs) + FAR * (statistics.median(costs) - min(costs))
    return [one for one, cost in zip(complete, costs, strict=True) if cost <= far]


def _slices(complete: Sequence[Trial], metric: str) -> list[Markup]:
    """The metric against each number that differs between trials; of a list, its length and its items."""
    spread = [_numbers(one.values.flat()) for one in complete]
    figures = []
    for name in dict.fromkeys(name for one in spread for name in one):
        known = [(one[name], trial.value or 0.0) for one, trial in zip(spread, complete, strict=True) if name in one]
        xs = [x for x, _ in known]
        if min(xs) == max(xs):
            continue
        wide = min(xs) > 0 and max(xs) / min(xs) >= LOG_FROM
        points = Series("trial", [math.log10(x) for x in xs] if wide else xs, [y for _, y in known], dots=True)
        label = f"log10 of {name}" if wide else name
        figures.append(line_chart(name, [points], x_label=label, y_label=metric))
    return figures


def _numbers(flat: dict[str, Any]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, value in flat.items():
        if isinstance(value, list):
            found |= {f"{name}.length": float(len(value))}
            found |= _numbers({f"{name}.{index}": item for index, item in enumerate(value)})
        elif isinstance(value, int | float):
            found[name] = float(value)
    return found


def _table(result: TuningFile) -> Markup:
    names = list(dict.fromkeys(name for one in result.trials for name in one.values.flat()))
    tones = {"complete": "plain", "pruned": "plain", "failed": "bad"}
    rows = []
    for one in result.trials:
        flat, winner = one.values.flat(), one.number == result.tuned.winner
        state = badge("winner", "good") if winner else badge(one.state, tones[one.state])  # type: ignore[arg-type]
        confirmed = result.confirmed.get(one.number)
        figures = [format_number(value) if value is not None else MISSING for value in (one.value, confirmed)]
        rows.append((str(one.number), state, one.reason, *figures, *(_text(flat.get(name)) for name in names)))
    return table(("trial", "state", "", result.tuned.metric, "confirmed", *names), rows, text_columns=3)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return format_number(value)
    return MISSING if value is None else json.dumps(value, ensure_ascii=False)
