"""The label's SQL, with the label missing wherever NaN occurs in it.

To DuckDB NaN is a number larger than all others, so `tips / fare > 0.2` is true of `0 / 0`. Null in NaN's place would
not do: `CASE`, `OR` and `coalesce` make a value of it. So DuckDB's own parser takes the expression apart, and each part
is tested for NaN; a part behind a `CASE`, `if`, `coalesce` or `TRY` only where DuckDB evaluates it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from slipway.data.database import UNSOUND_OPTIMIZERS
from slipway.errors import ConfigError

if TYPE_CHECKING:
    import duckdb

Node = dict[str, Any]  # an expression, as `json_serialize_sql` writes it

# Types are known when a query is planned: what remains of it is `isnan` for a number, and nothing for others.
_MACRO = r"""
CREATE OR REPLACE TEMP MACRO __slipway_is_nan(part) AS CASE
    WHEN typeof(part) IN ('FLOAT', 'DOUBLE') THEN isnan(TRY_CAST(part AS DOUBLE))
    WHEN regexp_matches(typeof(part), '^(FLOAT|DOUBLE)\[') THEN contains(CAST(part AS VARCHAR), 'nan')
    ELSE false END
"""
_NEVER = "false"
_NO_NUMBERS = ("CONSTANT", "COMPARISON", "CONJUNCTION", "BETWEEN", "LAMBDA", "STAR", "TYPE")
_NEVER_FAIL = ("+", "-", "*", "/")
_ELEMENT_BY_ELEMENT = re.compile(r"(list|array)_(transform|apply|filter)|apply|filter")


def missing_where_nan(connection: duckdb.DuckDBPyConnection, expression: str) -> str:
    """SQL of an expression's value: NULL where the expression, or a part of it that is evaluated, is NaN.

    The connection gets the macro and the setting that the SQL needs.

    Raises:
        ConfigError: it computes in a subquery's own rows or in `list_reduce`, where NaN would not be seen.
    """
    connection.execute(_MACRO)
    (parsed,) = connection.execute("SELECT json_serialize_sql(?)", [f"SELECT (\n{expression}\n)"]).fetchall()[0]
    statement = json.loads(parsed)
    (node,) = statement["statements"][0]["node"]["select_list"]
    nan = _Parts(connection, statement).nan(node)
    if "TRY(" in nan:
        # This optimizer moves a subexpression that also occurs outside of a TRY in front of it, where it may fail.
        connection.execute(f"SET disabled_optimizers = '{UNSOUND_OPTIMIZERS},common_subexpressions'")
    return f"CASE WHEN {nan} THEN NULL ELSE (\n{expression}\n) END"


def columns_of(connection: duckdb.DuckDBPyConnection, expression: str) -> set[str]:
    """The names of columns in an expression, in lower case."""
    (parsed,) = connection.execute("SELECT json_serialize_sql(?)", [f"SELECT (\n{expression}\n)"]).fetchall()[0]
    return set(_column_names(json.loads(parsed)))


def _column_names(node: Any) -> Iterator[str]:
    if isinstance(node, dict) and node.get("class") == "COLUMN_REF":
        yield node["column_names"][-1].lower()
    for value in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _column_names(value)


class _Parts:
    """Writes SQL that is true if a part of an expression meets NaN, else false or NULL."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, statement: Node) -> None:
        self._connection = connection
        self._statement = statement

    def nan(self, node: Node) -> str:
        """SQL: the part, or a part of it that DuckDB evaluates, is NaN."""
        parts, kind, function = list(_parts(node)), node["type"], node.get("function_name", "").lower()
        if kind == "CASE_EXPR" or function == "if":
            branches = [
                (when, self._sql(when), self.nan(then)) for when, then in zip(parts[::2], parts[1::2], strict=False)
            ]
            return self._first(branches, parts[-1])
        if kind == "OPERATOR_COALESCE":
            return self._first([(part, f"{self._sql(part)} IS NOT NULL", _NEVER) for part in parts[:-1]], parts[-1])
        if kind == "OPERATOR_TRY":
            return self._tried(parts[0])
        if node["class"] == "CONJUNCTION":
            # DuckDB may skip all parts but the first, and with them an error.
            return _any([self.nan(parts[0]), *(self._tried(part) for part in parts[1:])])
        answers = [self.nan(part) for part in parts if part["class"] != "LAMBDA"]
        if node["class"] == "SUBQUERY":
            answers += self._of_rows(node["subquery"]["node"])
        for part in parts[1:]:
            if part["class"] == "LAMBDA":
                answers.append(self._of_elements(function, parts[0], part))
        if node["class"] not in _NO_NUMBERS:
            answers.append(f"__slipway_is_nan({self._sql(node)})")
        return _any(answers)

    def _first(self, branches: list[tuple[Node, str, str]], otherwise: Node) -> str:
        """SQL for the first branch that decides; a branch is (test, SQL: it decides, SQL: its result is NaN)."""
        nan = self.nan(otherwise)
        for test, decides, then in reversed(branches):
            nan = _any([self.nan(test), nan if nan == then else f"CASE WHEN {decides} THEN {then} ELSE {nan} END"])
        return nan

    def _tried(self, node: Node) -> str:
        nan = self.nan(node)
        return f"TRY({nan})" if nan != _NEVER and _may_fail(node) else nan

    def _of_rows(self, select: Node) -> list[str]:
        """Conditions of a subquery; without FROM it has one row, with the names of the outer query."""
        if select.get("from_table", {}).get("type") == "EMPTY" and not select["cte_map"]["map"]:
            return [self.nan(part) for part in _parts(select)]
        if _computes(select):
            raise _unseen("a subquery with rows of its own")
        return []

    def _of_elements(self, function: str, elements: Node, body: Node) -> str:
        nan = self.nan(body["expr"])
        if nan == _NEVER:
            return nan
        if not _ELEMENT_BY_ELEMENT.fullmatch(function):
            raise _unseen(function)
        names = ", ".join(map(self._sql, list(_parts(body["lhs"])) or [body["lhs"]]))
        return f"list_contains(list_transform({self._sql(elements)}, lambda {names}: {nan}), true)"

    def _sql(self, node: Node) -> str:
        self._statement["statements"][0]["node"]["select_list"] = [node | {"alias": ""}]
        written = self._connection.execute("SELECT json_deserialize_sql(?::JSON)", [json.dumps(self._statement)])
        return str(written.fetchall()[0][0]).removeprefix("SELECT ")


def _unseen(where: str) -> ConfigError:
    return ConfigError(
        f"label.expression of module.yaml computes in {where}, where NaN cannot be detected and would get a label; "
        "compute outside of it, or list the values with CASE"
    )


def _parts(node: Any) -> Iterator[Node]:
    """The direct subexpressions, in order; those of a subquery do not count."""
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        if isinstance(value, dict) and "class" in value:
            yield value
        elif isinstance(value, dict | list) and key != "subquery":
            yield from _parts(value)


def _may_fail(node: Node) -> bool:
    may = node["class"] in ("CAST", "FUNCTION", "SUBQUERY", "WINDOW") and node.get("function_name") not in _NEVER_FAIL
    return may or any(map(_may_fail, _parts(node)))


def _computes(node: Any) -> bool:
    """Whether anything below an expression or a query could make NaN."""
    if isinstance(node, list):
        return any(map(_computes, node))
    return isinstance(node, dict) and (
        node.get("class") in ("CAST", "FUNCTION", "WINDOW") or any(map(_computes, node.values()))
    )


def _any(answers: list[str]) -> str:
    possible = [answer for answer in answers if answer != _NEVER]
    return f"({' OR '.join(possible)})" if possible else _NEVER
