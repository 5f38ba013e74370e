"""An error inside label.expression is blamed on it, with the values of a row; other errors are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from slipway.errors import DataError
from tests.slipway.data.examples.ingesting import ingest
from tests.slipway.data.examples.row_files import WRITERS

ROWS: list[dict[str, Any]] = [{"id": n, "price": n / 4, "name": "nx" if n == 77 else f"n{n}", "y": n % 2 + (n != 77)}
                              for n in range(120)]  # fmt: skip


@pytest.mark.parametrize("extension", list(WRITERS))
@pytest.mark.parametrize(
    ("expression", "shown"),
    [("id // (id - 77) > 2", "id = 77"), ("CAST(name[2:] AS INTEGER) > 60", "name = 'nx'"),
     ("strptime(name, '%H') IS NOT NULL", "name ="), ("(SELECT 3) > CAST(name[2:] AS INTEGER)", "name = 'nx'")],
)  # fmt: skip
def test_label_expression_that_fails_on_a_row_is_blamed_with_the_row(
    tmp_path: Path, extension: str, expression: str, shown: str
) -> None:
    path = tmp_path / f"data{extension}"
    WRITERS[extension](path, ROWS)
    with pytest.raises(DataError) as raised:
        ingest(path, tmp_path / "out", label={"column": "late", "expression": expression})
    assert "label.expression" in str(raised.value)
    assert shown in str(raised.value)
    assert "SET " not in str(raised.value)


def test_label_expression_may_end_in_a_comment(tmp_path: Path) -> None:
    WRITERS[".csv"](tmp_path / "data.csv", ROWS)
    label = {"column": "late", "expression": "id > 60 -- a comment"}
    assert ingest(tmp_path / "data.csv", tmp_path / "out", label=label).column("late")[60:62] == [0, 1]
