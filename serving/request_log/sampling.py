"""Which calls belong to the sample that is logged."""

from __future__ import annotations

import hashlib


def is_sampled(request_id: str, rate: float) -> bool:
    """Whether a sample of share `rate` includes a call.

    The first 64 bits of the id's SHA-256 decide, so that all processes agree, and a smaller sample is part of a larger.
    """
    if rate >= 1:
        return True
    number = int.from_bytes(hashlib.sha256(request_id.encode(errors="replace")).digest()[:8], "big")
    return number < rate * 2**64
