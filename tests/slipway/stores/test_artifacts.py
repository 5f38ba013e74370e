from pathlib import Path

import pytest
from pydantic import BaseModel

from slipway.errors import StoreError
from slipway.stores.artifacts import read_json


class Form(BaseModel):
    rows: int


def test_read_json_gives_what_was_written(tmp_path: Path) -> None:
    (tmp_path / "form.json").write_text('{"rows": 3}')
    assert read_json(tmp_path, "form.json", Form, "count_rows") == Form(rows=3)


def test_read_json_missing_file_names_the_step(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"form\.json is missing: .*count_rows"):
        read_json(tmp_path, "form.json", Form, "count_rows")


@pytest.mark.parametrize("text", ["", '{"rows": "many"}', '{"rows": 3'])
def test_read_json_damaged_file_says_what_to_do(text: str, tmp_path: Path) -> None:
    (tmp_path / "form.json").write_text(text)
    with pytest.raises(StoreError, match=r"form\.json is damaged: .*; run count_rows again"):
        read_json(tmp_path, "form.json", Form, "count_rows")
