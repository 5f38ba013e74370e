"""The numbers of versions, which are the names of their folders."""

from __future__ import annotations

from collections.abc import Iterable

from slipway.errors import StoreError

_LAST = 2**63 - 1


def version_of(name: str) -> int | None:
    """The version that a folder's name says to TensorFlow Serving, which reads 64 bits; None for other names."""
    number = int(name) if name.isascii() and name.isdigit() and len(name) <= len(str(_LAST)) else _LAST + 1
    return number if number <= _LAST else None


def next_version(used: Iterable[int], now: float, where: object) -> int:
    """The number for a push at `now`, in seconds since 1970; StoreError if 64 bits do not hold it."""
    number = max([*used, int(now)]) + 1
    if number > _LAST:
        raise StoreError(f"{where} has a folder named {_LAST}, the last version that can be: move it away")
    return number
