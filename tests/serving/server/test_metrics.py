"""The page has the names and labels that TensorFlow Serving's dashboards ask for."""

from __future__ import annotations

import grpc
import pytest
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.parser import text_string_to_metric_families

from serving.server.metrics import Metrics

OK, INVALID = grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT


@pytest.fixture
def metrics() -> Metrics:
    metrics = Metrics()
    metrics.observe("taxi", "predict", "REST", OK, 0.0005, 0.0002)
    metrics.observe("taxi", "Predict", "GRPC", OK, 0.000009)
    metrics.observe("taxi", "predict", "REST", INVALID, 60.0)
    return metrics


def samples(metrics: Metrics) -> dict[str, float]:
    lines = [line for line in metrics.page().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line)}


def test_page_counts_requests_by_status(metrics: Metrics) -> None:
    found = samples(metrics)

    assert found[':tensorflow:serving:request_count{model_name="taxi",status="OK"}'] == 2
    assert found[':tensorflow:serving:request_count{model_name="taxi",status="INVALID_ARGUMENT"}'] == 1
    assert "# TYPE :tensorflow:serving:request_count counter" in metrics.page().splitlines()


def test_page_latencies_of_answers_in_microseconds(metrics: Metrics) -> None:
    found = samples(metrics)
    rest = 'model_name="taxi",API="predict",entrypoint="REST"'
    latency = ":tensorflow:serving:request_latency"

    assert found[f'{latency}_bucket{{{rest},le="340.122"}}'] == 0
    assert found[f'{latency}_bucket{{{rest},le="612.22"}}'] == 1
    assert found[f'{latency}_bucket{{{rest},le="+Inf"}}'] == found[f"{latency}_count{{{rest}}}"] == 1
    assert found[f"{latency}_sum{{{rest}}}"] == 500
    assert found[f'{latency}_bucket{{model_name="taxi",API="Predict",entrypoint="GRPC",le="10"}}'] == 1
    runtime = 'model_name="taxi",API="Predict",runtime="TF1"'
    assert found[f":tensorflow:serving:runtime_latency_sum{{{runtime}}}"] == 200
    bounds = [name for name in found if name.startswith(f"{latency}_bucket{{{rest}")]
    assert len(bounds) == 34


def test_page_prometheus_reads_it(metrics: Metrics) -> None:
    registry = CollectorRegistry()
    Counter("slipway_request_log_logged", "Calls.", registry=registry).inc(3)
    metrics.add_registry(registry)

    families = {family.name: family.type for family in text_string_to_metric_families(metrics.page())}

    assert families[":tensorflow:serving:request_latency"] == "histogram"
    assert families["slipway_request_log_logged"] == "counter"


def test_page_names_that_clients_choose_are_escaped_and_limited(metrics: Metrics) -> None:
    metrics.observe('a"\\\n', "predict", "REST", INVALID, 0.0)
    for number in range(2000):
        metrics.observe(f"nobody-{number}", "predict", "REST", grpc.StatusCode.NOT_FOUND, 0.0)
    metrics.observe("taxi", "predict", "REST", OK, 0.001)

    page = metrics.page()

    assert (
        ':tensorflow:serving:request_count{model_name="a\\"\\\\\\n",status="INVALID_ARGUMENT"} 1' in page.splitlines()
    )
    found = samples(metrics)
    assert len([name for name in found if "request_count" in name]) <= 1001
    assert found[':tensorflow:serving:request_count{model_name="taxi",status="OK"}'] == 3
    assert found[':tensorflow:serving:request_count{model_name="",status="NOT_FOUND"}'] > 900
