"""How often code asks for a part of an object, to tell work done once from work done for each of many columns."""

from __future__ import annotations

from collections import Counter
from typing import Any


class Asked:
    """Stands for an object, and counts how often each attribute is asked for, by dotted name."""

    def __init__(self, of: Any, counts: Counter[str] | None = None, path: str = "") -> None:
        self._of, self._path = of, path
        self.counts: Counter[str] = Counter() if counts is None else counts

    def __getattr__(self, name: str) -> Any:
        self.counts[self._path + name] += 1
        value = getattr(self._of, name)
        return Asked(value, self.counts, f"{self._path}{name}.") if name.startswith("schema") else value
