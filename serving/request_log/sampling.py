"""Which calls belong to the sample that is logged."""

from __future__ import annotations

import hashlib


def is_sampled(request_id: str, rate: float) -> bool:
    """Whether a share `rate` of all calls includes this one.

    Decided by the first 64 bits of the id's SHA-256, so that every process decides alike, and a call in a small sample
    is in each larger one.
    """
    if rate >= 1:
        return True
    number = int.from_bytes(hashlib.sha256(request_id.encode(errors="replace")).digest()[:8], "big")
    return number < rate * 2**64
