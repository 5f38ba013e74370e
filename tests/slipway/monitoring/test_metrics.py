"""The newest windows as metrics, the command that serves them, and the alerts that read them."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import grpc
import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from serving.manifests import object_name
from serving.request_log.log import LogOptions, RequestLog
from serving.server.metrics import Metrics
from slipway.lineage import Lineage
from slipway.monitoring.metrics import WindowMetrics
from slipway.monitoring.state_metrics import StateMetrics
from slipway.runs.record import RunState, Summary
from slipway.stores import storage
from slipway.stores.model_store import open_store
from tests.model_files import provenance, write_model
from tests.watched_model import MODEL, Watched, draw

ROOT = Path(__file__).parents[3]
RULES = sorted((ROOT / "manifests" / "monitor-metrics" / "rules").glob("[!k]*.yaml"))
Samples = dict[str, list[tuple[dict[str, str], float]]]


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    """A canary and a version that drifted, with labels and calls that failed."""
    watched = Watched(tmp_path)
    canary, version = watched.push(1), watched.push(2)
    for its in (version, canary):
        requests, scores, labels = draw(3)
        moved = [row | {"fare": row["fare"] * 1.5} for row in requests]
        watched.tell(watched.ask(its, 0, moved, scores, failed=50), labels)
    watched.run(0)
    return watched


def parse(text: str) -> Samples:
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def scrape(collector: Collector) -> Samples:
    registry = CollectorRegistry()
    registry.register(collector)
    return parse(generate_latest(registry).decode())


def values(samples: Samples, name: str, **labels: str) -> list[float]:
    return [value for own, value in samples[f"slipway_monitor_{name}"] if labels.items() <= own.items()]


def test_drift_scores_labels_and_the_windows_end_are_metrics(watched: Watched) -> None:
    samples, result = scrape(WindowMetrics(watched.windows)), watched.result(0)
    [fare] = values(samples, "drift", column="fare", role="input", decides="yes")
    [bound] = values(samples, "drift_bound", column="fare")
    assert fare == next(one for one in result.columns if one.name == "fare").baseline.distance > bound
    assert len(values(samples, "drift", decides="no", role="label")) == 1
    assert values(samples, "window_end_timestamp_seconds", model=MODEL) == [1772409600.0]
    assert values(samples, "window_seconds") == [86_400.0]
    assert values(samples, "labels") == [600.0, 600.0]
    low, score, high = (
        values(samples, name, metric="auc", version=str(result.version))
        for name in ("score_low", "score", "score_high")
    )
    assert low < score < high
    assert values(samples, "score_evaluated", metric="auc") == [0.79], "the canary's is in its own baseline"
    assert (values(samples, "calls"), values(samples, "failed_calls")) == ([1300.0], [100.0])
    assert values(samples, "verdict", verdict=result.verdict) == [1.0]


def test_a_newer_window_is_read_and_what_cannot_be_read_keeps_its_values(watched: Watched) -> None:
    collector = WindowMetrics(watched.windows, [MODEL])
    first = values(scrape(collector), "window_end_timestamp_seconds")
    requests, scores, _ = draw(5)
    watched.ask(watched.result(0).version, 1, requests, scores)
    watched.run(1)
    assert values(scrape(collector), "window_end_timestamp_seconds") == [first[0] + 86_400]
    (Path(watched.windows) / MODEL / "2026-03-02T00:00:00Z" / "window.json").write_text("{")
    samples = scrape(collector)
    assert values(samples, "readable") == [0.0]
    assert values(samples, "window_end_timestamp_seconds") == [first[0] + 86_400]


def test_a_damaged_window_leaves_the_other_models_alone(watched: Watched) -> None:
    windows = Path(watched.windows)
    shutil.copytree(windows / MODEL, windows / "another")
    (windows / "another" / "2026-03-01T00:00:00Z" / "window.json").write_text("{")
    samples = scrape(WindowMetrics(watched.windows))
    assert values(samples, "readable") == [0.0]
    assert values(samples, "requests", model=MODEL)


def state_metrics(watched: Watched) -> StateMetrics:
    return StateMetrics(watched.runs, open_store(watched.store))


def test_pins_are_metrics_by_the_label_of_the_pods(watched: Watched, tmp_path: Path) -> None:
    samples = scrape(state_metrics(watched))
    assert "slipway_monitor_pinned" not in samples, "nothing was promoted"
    store = open_store(watched.store)
    newest = store.versions(MODEL)[-1].number
    store.promote(MODEL, newest, why="it is better")
    collector = state_metrics(watched)
    assert scrape(collector)["slipway_monitor_pinned"] == [
        ({"model": MODEL, "app": object_name(MODEL), "version": str(newest)}, 1.0)
    ]
    state = Path(watched.store) / MODEL / ".state.json"
    state.write_text("{")
    assert scrape(collector)["slipway_monitor_pinned"][0][0]["version"] == str(newest), "it keeps what it knew"
    pushed = open_store(str(tmp_path / "other"))
    version = pushed.push(write_model(tmp_path / "model"), provenance("big_tips")).version
    pushed.promote("big_tips", version.number, why="the first")
    (tmp_path / "other" / "another").mkdir()
    (tmp_path / "other" / "another" / ".state.json").write_text("{")
    [(labels, _)] = scrape(StateMetrics(watched.runs, pushed))["slipway_monitor_pinned"]
    assert labels["app"] == object_name("big_tips") == "big-tips"


def test_ends_of_runs_are_metrics_by_state_and_one_under_way_is_read_again(tmp_path: Path) -> None:
    def end(name: str, state: RunState, finished: float) -> None:
        lineage = Lineage(run=name, module=MODEL, module_digest="d", data_uri="trips.csv")
        summary = Summary(lineage=lineage, state=state, finished=finished)
        storage.write_text(str(tmp_path / name / "summary.json"), summary.model_dump_json())

    collector = StateMetrics(str(tmp_path), open_store(str(tmp_path / "models")))
    (tmp_path / "c").mkdir()
    end("a", "succeeded", 1000.0)
    end("b", "failed", 2000.0)
    ends = {labels["state"]: value for labels, value in scrape(collector)["slipway_monitor_run_end_timestamp_seconds"]}
    assert ends == {"succeeded": 1000.0, "failed": 2000.0}
    end("a", "succeeded", 9000.0)
    end("c", "succeeded", 3000.0)
    after = scrape(collector)["slipway_monitor_run_end_timestamp_seconds"]
    assert {labels["state"]: value for labels, value in after} == {"succeeded": 3000.0, "failed": 2000.0}, "a is known"
    assert {(labels["model"], labels["pipeline"]) for labels, _ in after} == {(MODEL, "training")}


# What a target's labels are in Prometheus, with those that managed-prometheus adds.
TARGET = {"job": "model-servers", "app": "trips", "track": "stable", "version": "1"}


def serving_samples(folder: Path) -> Samples:
    """What the model server and the request log show, and `up`, with the labels of their target."""
    metrics, registry = Metrics(), CollectorRegistry()
    metrics.observe(MODEL, "predict", "REST", grpc.StatusCode.OK, 0.01)
    with RequestLog(LogOptions(str(folder)), registry):
        pass
    found: Samples = {"up": [(TARGET, 1.0)]}
    for line in (metrics.page() + generate_latest(registry).decode()).splitlines():
        if line and not line.startswith("#"):
            name, labels = re.match(r"([^{ ]+)(?:\{(.*)\})?", line).groups()  # type: ignore[union-attr]
            found.setdefault(name, []).append((TARGET | dict(re.findall(r'(\w+)="([^"]*)"', labels or "")), 0.0))
    return found


def test_the_alerts_read_metrics_and_labels_that_are_there(watched: Watched) -> None:
    store = open_store(watched.store)
    store.promote(MODEL, store.versions(MODEL)[-1].number, why="it is better")
    lineage = Lineage(run="a", module=MODEL, module_digest="d", data_uri="trips.csv")
    ended = Summary(lineage=lineage, state="succeeded", finished=2.0)
    storage.write_text(storage.join(watched.runs, "a", "summary.json"), ended.model_dump_json())
    samples = scrape(WindowMetrics(watched.windows)) | scrape(state_metrics(watched)) | serving_samples(watched.folder)
    rules: list[dict[str, Any]] = [
        rule
        for path in RULES
        for group in yaml.safe_load(path.read_text())["spec"]["groups"]
        for rule in group["rules"]
    ]
    assert len(RULES) == 2
    recorded = {rule["record"] for rule in rules if "record" in rule}
    for rule in rules:
        names = set(re.findall(r"(?:slipway_|:tensorflow:)[a-z_:]+|\bup\b", rule["expr"]))
        assert names, rule
        assert names <= samples.keys() | recorded, rule
        for name, selected in re.findall(r"([\w:]+)\{([^}]*)\}", rule["expr"]):
            for label in re.findall(r"(\w+)!?=", selected):
                assert label in samples[name][0][0], rule
        if "alert" in rule:
            assert rule["labels"]["severity"] in ("critical", "warning", "info")
            assert rule["annotations"].keys() == {"summary", "description"}
            read = {label for name in names & samples.keys() for label in samples[name][0][0]} | {"model"}
            said = " ".join(rule["annotations"].values())
            assert set(re.findall(r"\$labels\.(\w+)", said)) <= read, rule
    assert len({rule["alert"] for rule in rules if "alert" in rule}) == len(rules) - len(recorded)


def test_the_command_prints_them_and_serves_them_until_it_is_stopped(watched: Watched) -> None:
    command = [sys.executable, "-m", "cli.main", "monitor", "metrics"]
    environment = {"SLIPWAY_HOME": str(watched.folder), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    printed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert values(parse(printed + "\n"), "readable") == [1.0]
    command += [MODEL, "--port", "0", "--host", "127.0.0.1"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, cwd=ROOT) as served:
        assert served.stdout
        address = served.stdout.readline().split()[-1]
        with urlopen(address, timeout=20) as answer:
            assert values(parse(answer.read().decode()), "drift", column="fare", model=MODEL)
        served.send_signal(signal.SIGTERM)
        assert served.wait(20) == 0
