"""Lists by pages: which part is shown, and links to the parts beside it."""

from __future__ import annotations

import math
from typing import Protocol

from markupsafe import Markup


class Paged(Protocol):
    """A view of a list."""

    @property
    def page(self) -> int:
        """The page that is asked for, from 1."""

    def address(self, **changes: object) -> str:
        """The address of another page of the same view."""


def part_of(view: Paged, total: int, size: int) -> slice:
    """The part that is shown; a page beyond the last is the last."""
    page = min(view.page, max(1, math.ceil(total / size)))
    return slice(size * (page - 1), min(size * page, total))


def pager(view: Paged, part: slice, total: int, size: int, what: str) -> Markup:
    """`1 to 25 of 300 features`, and links to the pages before and after."""
    page = part.start // size + 1
    link = Markup('<a href="{}" rel="{}">{}</a>')
    before = link.format(view.address(page=page - 1), "prev", "Before") if page > 1 else ""
    after = link.format(view.address(page=page + 1), "next", "After") if part.stop < total else ""
    said = f"{part.start + 1:,} to {part.stop:,} of {total:,} {what}"
    return Markup('<nav class="pager above" aria-label="Pages of {}">{} <span>{}</span> {}</nav>').format(
        what, before, said, after
    )
