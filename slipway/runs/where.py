"""Conditions on runs: `auc > 0.9 and module = taxi`.

A condition is NAME OP VALUE with one of = != < <= > >=; `and` joins them. Text with blanks is quoted. A run that lacks
the value does not match.
"""

import difflib
import json
import math
import operator
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from slipway.errors import ConfigError
from slipway.runs.store import RunView

Fact = float | str
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_CONDITION = re.compile(
    r"""\s*(?P<name>[A-Za-z_][\w.-]*)\s*(?P<sign><=|>=|!=|=|<|>)\s*(?P<value>'[^']*'|"[^"]*"|[^\s'"<>=!]+)\s*"""
)
_AND = re.compile(r"and\b")


class Condition(NamedTuple):
    """One comparison; the value is a number where it reads as one and is not quoted."""

    name: str
    sign: str
    value: Fact

    def holds(self, facts: dict[str, Fact]) -> bool:
        """Whether a run with these facts fulfils it."""
        fact = facts.get(self.name)
        if fact is None:
            return False
        if isinstance(fact, float) != isinstance(self.value, float):
            return _COMPARE[self.sign](_text(fact), _text(self.value)) if self.sign in ("=", "!=") else False
        return _COMPARE[self.sign](fact, self.value)


def facts_of(view: RunView) -> dict[str, Fact]:
    """What conditions may name: metrics, what the run was given, and its tags as `tags.<key>`."""
    summary, lineage = view.summary, view.summary.lineage
    named: dict[str, Any] = {
        "run": view.name,
        "state": view.state,
        "verdict": summary.verdict,
        "version": summary.pushed_version,
        "pipeline": lineage.pipeline,
        "module": lineage.module,
        "target": lineage.target,
        "data": lineage.data_uri,
        "data_digest": summary.data_digest,
        "revision": lineage.git_revision,
        "seed": lineage.seed,
        "started_by": lineage.started_by or None,
        "seconds": view.seconds,
        "rows": summary.rows.read,
        **lineage.overrides,
        **{f"hyperparameters.{key}": value for key, value in lineage.hyperparameters.items()},
        **{f"tags.{key}": value for key, value in view.notes.tags.items()},
        **summary.metrics,
    }
    return {name: _fact(value) for name, value in named.items() if value is not None}


def select(views: Sequence[RunView], text: str) -> list[RunView]:
    """The runs that fulfil all conditions; a ConfigError says what of the text is wrong."""
    holds = fulfilled([facts_of(view) for view in views], text)
    return [view for view, its in zip(views, holds, strict=True) if its]


def fulfilled(facts: Sequence[dict[str, Fact]], text: str) -> list[bool]:
    """For each run's facts, whether they fulfil all conditions."""
    conditions = parse(text)
    known = sorted({name for one in facts for name in one})
    for condition in conditions:
        if facts and condition.name not in known:
            near = difflib.get_close_matches(condition.name, known, n=3) or known
            raise ConfigError(f"--where: no run has {condition.name!r}; there are {', '.join(near)}")
        numbers = any(isinstance(one.get(condition.name), float) for one in facts)
        if facts and condition.sign not in ("=", "!=") and not (numbers and isinstance(condition.value, float)):
            raise ConfigError(
                f"--where: {condition.name} {condition.sign} {condition.value!r}: {condition.sign} compares numbers; "
                "text takes = and !="
            )
    return [all(one.holds(its) for one in conditions) for its in facts]


def parse(text: str) -> list[Condition]:
    """The conditions of a text."""
    conditions, at = [], 0
    while True:
        found = _CONDITION.match(text, at)
        if found is None:
            raise _wrong(text, at, "NAME OP VALUE, as auc > 0.9; OP is one of = != < <= > >=")
        conditions.append(Condition(found["name"], found["sign"], _value(found["value"])))
        at = found.end()
        if at == len(text):
            return conditions
        joint = _AND.match(text, at)
        if joint is None:
            raise _wrong(text, at, "`and`, or the end")
        at = joint.end()


def _wrong(text: str, at: int, expected: str) -> ConfigError:
    rest = text[at:].strip()
    where = f"before {rest!r}" if rest else "at the end"
    return ConfigError(f"--where {text!r}: {where} is expected {expected}")


def _value(text: str) -> Fact:
    if text[0] in "'\"":
        return text[1:-1]
    try:
        number = float(text)
    except ValueError:
        return text
    return number if math.isfinite(number) else text


def _fact(value: Any) -> Fact:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _text(fact: Fact) -> str:
    return f"{fact:g}" if isinstance(fact, float) else fact
