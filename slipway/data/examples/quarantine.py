"""Rows that could not be read, with place, reason and content."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from slipway.errors import DataError

RAW_CHARACTERS = 1000
SHOWN = 3


@dataclass(frozen=True)
class BadRow:
    """One row; `line` counts from 1 (the header's line too), in Parquet, Avro and TFRecord the rows."""

    file: str
    line: int | None
    reason: str
    raw: str

    @property
    def place(self) -> str:
        """`file:line` for people."""
        return f"{self.file}:{self.line}" if self.line else self.file


class Quarantine:
    """Writes `quarantine.jsonl` row by row, one object a line; without rows there is no file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self._shown: list[BadRow] = []
        self._file: IO[str] | None = None

    def add(self, row: BadRow) -> None:
        """Keeps a row, its raw text cut to `RAW_CHARACTERS`."""
        if self._file is None:
            self._file = self.path.open("w", encoding="utf-8")
        record = {"file": row.file, "line": row.line, "reason": row.reason, "raw": row.raw[:RAW_CHARACTERS]}
        self._file.write(json.dumps(record, ensure_ascii=False) + "\n")
        self.count += 1
        if len(self._shown) < SHOWN:
            self._shown.append(row)

    def restart(self) -> None:
        """Forgets all rows, before they are read again."""
        self.close()
        self.path.unlink(missing_ok=True)
        self.count = 0
        self._shown.clear()

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def check(self, read: int, limit: float) -> None:
        """Fails if too many rows are bad.

        Raises:
            DataError: more than the share `limit` of `read` rows is here; the message shows the first ones.
        """
        if self.count <= limit * read:
            return
        shown = "\n".join(f"  {row.place}: {row.reason}" for row in self._shown)
        raise DataError(
            f"{self.count:,} of {read:,} rows ({self.count / read:.2%}) could not be read; the limit is {limit:.2%}. "
            f"The first:\n{shown}\nAll are in {self.path}. "
            "Correct the data, or raise ingestion.max_quarantined in module.yaml"
        )
