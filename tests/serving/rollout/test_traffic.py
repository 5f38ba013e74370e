"""Counters of TensorFlow Serving: what is read, what a window held, and what is said of it."""

from __future__ import annotations

import math

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


def test_parse_metrics_adds_protocols_up_and_leaves_other_models_out() -> None:
    found = parse_metrics(TEXT, "taxi")
    assert found.by_status == {"OK": 7, "INVALID_ARGUMENT": 2}
    assert found.at_most == {1000.0: 6, math.inf: 7}
    assert found.error_ratio == pytest.approx(2 / 9)
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
        (reading(1000, 500), reading(1000, 500), "passed"),  # bad requests of a client hit both
        (reading(100, latency=1900.0), reading(100, latency=1100.0), "passed"),
        (reading(100, latency=9000.0), reading(100, latency=1000.0), "failed"),
        (reading(100, latency=100.0), reading(100, latency=9000.0), "passed"),
        (reading(100, 100), reading(100), "failed"),  # latencies are kept of answers only
        (reading(100, 100), reading(100, 100), "inconclusive"),
        (reading(99), reading(100), "inconclusive"),
        (reading(100), reading(99), "inconclusive"),
        (reading(99, 99), reading(100), "inconclusive"),
        (Reading(reading(100).by_status), Reading(reading(100).by_status), "inconclusive"),
    ],
)
def test_compare_says(canary: Reading, stable: Reading, verdict: str) -> None:
    judged = compare(canary, stable, POLICY)
    assert judged.verdict == verdict
    assert judged.reasons
