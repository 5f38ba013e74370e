"""Counters of TensorFlow Serving: what is read, what a window held, and what is said of it."""

from __future__ import annotations

import math
import re
from collections import Counter

import pytest

from serving.rollout.policy import RolloutPolicy
from serving.rollout.traffic import Reading, compare, parse_metrics, total
from tests.fakes.kubernetes.model_server import Pod

POLICY = RolloutPolicy(min_requests=100, max_error_increase=0.01, max_p99_ratio=2)
# As a model server prints them, with a second model and the counters of the gRPC side.
TEXT = """\
# TYPE :tensorflow:serving:request_count counter
:tensorflow:serving:request_count{model_name="taxi",status="OK"} 7
:tensorflow:serving:request_count{model_name="taxi",status="INVALID_ARGUMENT"} 2
:tensorflow:serving:request_count{model_name="other",status="OK"} 1000
# TYPE :tensorflow:serving:request_latency histogram
:tensorflow:serving:request_latency_bucket{model_name="taxi",API="Predict",entrypoint="GRPC",le="1000"} 4
:tensorflow:serving:request_latency_bucket{model_name="taxi",API="Predict",entrypoint="GRPC",le="+Inf"} 5
:tensorflow:serving:request_latency_sum{model_name="taxi",API="Predict",entrypoint="GRPC"} 4100
:tensorflow:serving:request_latency_count{model_name="taxi",API="Predict",entrypoint="GRPC"} 5
:tensorflow:serving:request_latency_bucket{model_name="taxi",API="Predict",entrypoint="REST",le="1000"} 2
:tensorflow:serving:request_latency_bucket{model_name="taxi",API="Predict",entrypoint="REST",le="+Inf"} 2
"""


def reading(requests: int, errors: int = 0, latency: float = 1000.0) -> Reading:
    pod = Pod(latency=latency)
    pod.receive(requests, errors)
    return parse_metrics(pod.metrics("taxi"), "taxi")


def mistaken(requests: int, mistakes: int, status: str = "INVALID_ARGUMENT") -> Reading:
    good = reading(requests - mistakes)
    return Reading(good.by_status + Counter({status: mistakes}), good.at_most)


def test_parse_metrics_adds_protocols_up_and_leaves_other_models_out() -> None:
    found = parse_metrics(TEXT, "taxi")
    assert found.by_status == {"OK": 7, "INVALID_ARGUMENT": 2}
    assert found.at_most == {1000.0: 6, math.inf: 7}
    assert (found.requests, found.mistakes, found.errors) == (9, 2, 0)
    assert parse_metrics("", "taxi").requests == 0


def test_since_counts_what_came_after_and_all_of_a_server_that_started_anew() -> None:
    pod = Pod()
    pod.receive(100, 5)
    before = parse_metrics(pod.metrics("taxi"), "taxi")
    pod.receive(50, 1)
    window = parse_metrics(pod.metrics("taxi"), "taxi").since(before)
    assert (window.requests, window.error_ratio) == (50, 1 / 50)
    assert window.at_most[math.inf] == 49  # of those that ended well
    assert reading(7).since(before).requests == 7
    assert reading(7).since(None).requests == 7


def test_since_of_a_server_that_started_anew_and_counted_further_is_all_of_it() -> None:
    before = reading(50, 10, latency=9000.0)
    window = reading(100, 2).since(before)
    assert (window.requests, window.error_ratio) == (100, 0.02)
    assert window.quantile(0.99) < 2


def test_parse_metrics_leaves_latencies_of_errors_out() -> None:
    """Some versions of TensorFlow Serving keep them, under a label of their own."""
    labelled = TEXT.replace('entrypoint="GRPC"', 'entrypoint="GRPC",status="OK"')
    labelled = labelled.replace('entrypoint="REST"', 'entrypoint="REST",status="INTERNAL"')
    assert parse_metrics(labelled, "taxi").at_most == {1000.0: 4, math.inf: 5}


@pytest.mark.parametrize("text", ["<html>", TEXT.replace(" 7", " NaN"), TEXT.replace(" 7", " +Inf")])
def test_parse_metrics_of_what_are_none_is_refused(text: str) -> None:
    with pytest.raises((ValueError, OverflowError)):
        parse_metrics(text, "taxi")


@pytest.mark.parametrize("latency", [12.0, 1000.0, 250_000.0])
def test_quantile_lies_in_the_bucket_of_the_latency(latency: float) -> None:
    assert reading(100, latency=latency).quantile(0.99) == pytest.approx(latency / 1000, rel=0.8)


def test_quantile_sees_the_slowest_of_a_hundred() -> None:
    both = total([reading(98), reading(2, latency=80_000.0)])
    assert both.quantile(0.5) < 2
    assert both.quantile(0.99) > 40
    assert math.isnan(Reading().quantile(0.99))


@pytest.mark.parametrize(
    ("canary", "stable", "verdict"),
    [
        (reading(100), reading(100), "passed"),
        (reading(1000, 9), reading(1000), "passed"),
        (reading(1000, 11), reading(1000), "failed"),
        (reading(1000, 500), reading(1000, 500), "passed"),
        (reading(100, 3), reading(100), "passed"),  # what chance does, too
        (reading(100_000, 900), reading(100_000), "passed"),  # what the policy allows, though it is no chance
        (reading(100, latency=1900.0), reading(100, latency=1100.0), "passed"),
        (reading(100, latency=9000.0), reading(100, latency=1000.0), "failed"),
        (reading(100, latency=100.0), reading(100, latency=9000.0), "passed"),
        (total([reading(950), reading(50, latency=9000.0)]), reading(1000), "failed"),  # the tail alone
        (total([reading(995), reading(5, latency=9000.0)]), reading(100_000), "passed"),  # above p99
        (reading(100, 100), reading(100), "failed"),  # latencies are kept of answers only
        (reading(100, 100), reading(100, 100), "inconclusive"),
        (mistaken(1000, 500), reading(1000), "passed"),
        (mistaken(1000, 1000), reading(1000), "inconclusive"),
        (reading(1000), mistaken(1000, 1000), "inconclusive"),
        (reading(99), reading(100), "inconclusive"),
        (reading(100), reading(99), "inconclusive"),
        # Errors that no chance makes, however few there are.
        (reading(20, 20), reading(30), "failed"),
        (reading(10, 4), reading(99), "inconclusive"),
        (reading(20, 20), Reading(), "inconclusive"),
        (mistaken(20, 20), reading(30), "inconclusive"),
        (Reading(reading(100).by_status), Reading(reading(100).by_status), "inconclusive"),
    ],
)
def test_compare_says(canary: Reading, stable: Reading, verdict: str) -> None:
    judged = compare(canary, stable, POLICY)
    assert judged.verdict == verdict
    assert judged.reasons


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        *((status, "passed") for status in ("INVALID_ARGUMENT", "NOT_FOUND", "PERMISSION_DENIED", "UNAUTHENTICATED")),
        *((number, "passed") for number in ("3", "5", "7", "16")),  # as older servers write them
        *((status, "failed") for status in ("INTERNAL", "UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED")),
        *((status, "failed") for status in ("FAILED_PRECONDITION", "UNIMPLEMENTED", "CANCELLED", "UNKNOWN", "13", "")),
    ],
)
def test_compare_blames_the_model_for_all_but_its_clients_mistakes(status: str, verdict: str) -> None:
    judged = compare(mistaken(1000, 100, status), reading(1000), POLICY)
    assert judged.verdict == verdict
    assert ("(without 100 and 0 that were the clients' mistakes)" in judged.reasons[0]) == (verdict == "passed")


def test_compare_says_which_rise_was_too_small_to_be_seen_and_how_many_requests_show_what_is_allowed() -> None:
    errors, latency = compare(reading(1000, 10), reading(3000, 30), POLICY).reasons
    assert "share of errors 1.00% of 1,000 requests, stable 1.00% of 3,000" in errors
    rise, canary, stable = _numbers(r"less than ([\d.]+)%.*: 1.00% takes ([\d,]+) of the canary and ([\d,]+)", errors)
    assert 1 < rise < 4
    assert 1000 < canary < 10_000
    assert stable == pytest.approx(3 * canary, abs=3)
    (times,) = _numbers(r"less than ([\d.]+) times", latency)
    assert 1 < times < 2
    enough_for_both = compare(reading(100_000, 1000), reading(100_000, 1000), POLICY).reasons
    assert not any("takes" in reason for reason in enough_for_both)


def test_compare_of_many_says_differences_that_are_not_nothing() -> None:
    errors, latency = compare(reading(300_000), reading(900_000), RolloutPolicy()).reasons
    assert 0 < _numbers(r"less than ([\d.e-]+)%", errors)[0] < 0.01
    assert _numbers(r"less than ([\d.]+) times", latency)[0] > 1


def test_compare_of_few_says_how_many_latencies_show_what_is_allowed() -> None:
    policy = POLICY.model_copy(update={"min_requests": 1})
    few = total([reading(2), reading(3, latency=3000.0)])
    times, needed, _ = _numbers(
        r"less than ([\d.]+) times.*: 2 times takes ([\d,]+) of the canary and ([\d,]+)",
        compare(few, few, policy).reasons[1],
    )
    assert times > 2
    assert needed > 5


def test_compare_says_where_the_canary_is_slower() -> None:
    slower = total([reading(900), reading(100, latency=9000.0)])
    (reason,) = compare(slower, reading(1000), POLICY).reasons
    assert reason.startswith("p99 1")
    share, allowed = _numbers(r"([\d.]+)% of the canary's answers took over .* ms, and ([\d.]+)% of stable's", reason)
    assert (share, allowed) == (10.0, 0.0)


def _numbers(pattern: str, text: str) -> list[float]:
    found = re.search(pattern, text)
    assert found, text
    return [float(one.replace(",", "")) for one in found.groups()]
