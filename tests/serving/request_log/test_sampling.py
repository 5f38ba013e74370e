from __future__ import annotations

import hashlib

from hypothesis import given, settings
from hypothesis import strategies as st

from serving.request_log import is_sampled


@settings(deadline=None)  # the machine may be busy
@given(st.text(), st.floats(0, 1), st.floats(0, 1))
def test_is_sampled_small_sample_is_part_of_a_larger(request_id: str, rate: float, other: float) -> None:
    small, large = sorted((rate, other))
    assert is_sampled(request_id, large) or not is_sampled(request_id, small)


@settings(deadline=None)
@given(st.text())
def test_is_sampled_none_and_all(request_id: str) -> None:
    assert not is_sampled(request_id, 0)
    assert is_sampled(request_id, 1)


def test_is_sampled_share_is_the_rate_for_ids_in_sequence() -> None:
    assert 900 < sum(is_sampled(f"request-{number}", 0.1) for number in range(10_000)) < 1100


def test_is_sampled_can_be_repeated_in_sql() -> None:
    # What `CAST(CONCAT('0x', SUBSTR(TO_HEX(SHA256(request_id)), 1, 15)) AS INT64)` computes in BigQuery.
    for number in range(100):
        share = int(hashlib.sha256(b"r%d" % number).hexdigest()[:15], 16) / 16**15
        assert is_sampled(f"r{number}", 0.3) == (share < 0.3)
