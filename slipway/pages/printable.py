"""Text of data, of servers and of users as a terminal may show it."""

from __future__ import annotations

import re

# C0 but tab and newline, DEL, C1, line separators, and marks that change the direction of text.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """Text with its control characters escaped as in JSON; tabs and newlines stay."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
