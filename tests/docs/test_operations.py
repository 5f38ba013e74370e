"""The runbooks of docs/operations.md, each from a state that is broken so, to one that is mended."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from itertools import product
from pathlib import Path

import pytest
import yaml

from serving.rollout.engine import Rollout
from serving.rollout.lease import STATE
from slipway.errors import ClusterError, RolloutError, RolloutInconclusiveError, StoreError
from slipway.stores import storage
from slipway.stores.model_store import open_store
from tests.docs.guides import copied
from tests.docs.runbooks import PAGE, SECTIONS, Operator, lines
from tests.fakes.gcloud import Gcloud
from tests.fakes.kubeflow import FakeKubeflow
from tests.fakes.kubernetes.controller import Fate
from tests.fakes.kubernetes.model_server import Pod
from tests.fakes.kubernetes.world import NAMESPACE, PROJECT, World, open_world, write_overlay
from tests.fakes.loopback_server import Answer, LoopbackServer, Request
from tests.fakes.secret_manager import NAME, SecretManager
from tests.fakes.storage_server import BUCKET, StorageServer
from tests.request_windows import write_requests

kubectl = pytest.mark.skipif(not shutil.which("kubectl"), reason="no kubectl here")
ALONE = "Roll back with kubectl alone"
STATE_OBJECT = "home/models/taxi/.state.json"


@pytest.fixture
def world(tmp_path: Path, remote_home: str, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Three versions in a bucket, none of which serves yet."""
    monkeypatch.setenv("SLIPWAY_SERVING__OVERLAY", str(write_overlay(tmp_path / "overlay")))
    for name, value in (("WINDOW_SECONDS", 0), ("TRAFFIC_SECONDS", 0), ("READY_SECONDS", 20), ("MIN_REQUESTS", 50)):
        monkeypatch.setenv(f"SLIPWAY_SERVING__{name}", str(value))
    monkeypatch.setenv("SLIPWAY_SERVING__MODELS_PATH", "gs://bucket/models")
    impatient = partial(Rollout, pause=lambda seconds: time.sleep(min(seconds, 0.02)))
    monkeypatch.setattr("delivery.rollout.Rollout", impatient)
    with open_world(tmp_path, certificate=certificate) as opened:
        models = storage.join(remote_home, "models")
        storage.copy_folder(str(tmp_path / "models"), models)
        opened.store = open_store(models)
        yield opened


@pytest.fixture
def operator(world: World, storage_server: StorageServer, tmp_path: Path) -> Operator:
    names = {"ENV": "staging", "MODEL": "taxi", "NAMESPACE": NAMESPACE, "PROJECT": "p", "BUCKET": BUCKET}
    return Operator(names, Gcloud(storage_server, folder=tmp_path), tmp_path)


def status(world: World) -> tuple[int | None, int | None]:
    """The version that serves, and the one that the store pins."""
    production = world.store.production("taxi")
    return world.stable, production.number if production else None


def test_page_names_every_alert_and_every_runbook_says_what_it_must() -> None:
    rules = [yaml.safe_load(path.read_text()) for path in (PROJECT / "manifests/monitor-metrics/rules").glob("*.yaml")]
    alerts = {
        rule["alert"]
        for each in rules
        for group in each.get("spec", {}).get("groups", [])
        for rule in group["rules"]
        if "alert" in rule
    }
    assert len(alerts) > 15
    assert {name for name in alerts if f"`{name}`" not in PAGE} == set()
    others = {"Whose file is whose", "What was tested"}
    for title in SECTIONS.keys() - others:
        assert lines(title), title
        assert "**It worked**" in SECTIONS[title], title
    for title in SECTIONS.keys() - others - {"Another environment"}:
        assert "**Do not**" in SECTIONS[title], title


def test_bad_model_in_production_is_replaced_by_the_one_before(world: World, operator: Operator) -> None:
    good, bad = world.versions[:2]
    for number in (good, bad):
        world.start(number)
    assert status(world) == (bad, bad)
    *_, shown, history = operator.run("A bad model in production")
    assert status(world) == (good, good)
    assert re.search(f"taxi +stable +{good} +1 of 1", shown)
    assert "one of 20 requests fails" in history
    assert world.store.stage("taxi", bad) == "quarantined"


@pytest.mark.slow
@kubectl
def test_rollback_with_kubectl_alone_and_both_are_brought_together(world: World, operator: Operator) -> None:
    good, bad, later = world.versions
    for number in (good, bad):
        world.start(number)
    asked = set(world.api.asked)
    found = operator.run_one(ALONE, "kubectl --namespace $NAMESPACE get replicasets")
    revisions = {int(version): revision for revision, version in map(str.split, found.splitlines()[1:])}
    assert revisions.keys() == {good, bad}
    operator.names |= {"REVISION": revisions[good], "GOOD": str(good), "BAD": str(bad), "NEXT": str(later)}
    operator.run_one(ALONE, "kubectl --namespace $NAMESPACE rollout undo")
    deadline = time.monotonic() + 20
    while operator.run_one(ALONE, "kubectl --namespace $NAMESPACE get deployment").split()[-3:] != [
        str(good),
        "1",
        "1",
    ]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    rights = yaml.safe_load((PROJECT / "manifests/rollout-access/base/role.yaml").read_text())["rules"]
    granted = {one for rule in rights for one in product(rule["verbs"], rule["apiGroups"], rule["resources"])}
    assert world.api.asked - asked <= granted
    assert status(world) == (good, bad), "the store knows nothing of it"
    operator.run(ALONE, "slipway models promote", "slipway rollout status")
    assert status(world) == (good, good)
    assert world.store.stage("taxi", bad) == "quarantined"
    with pytest.raises(ClusterError, match="--force-conflicts"):
        world.start(later)
    assert status(world) == (good, good)
    operator.run(ALONE, "slipway rollout start $MODEL/NEXT")
    assert status(world) == (later, later)
    with world.cluster() as cluster:
        world.rollout(cluster).rollback("kubectl owns nothing any more")
    assert status(world) == (good, good)


@pytest.mark.slow
def test_stuck_rollout_whose_canary_waits_is_decided(world: World, operator: Operator) -> None:
    first, second, third = world.versions
    world.start(first)
    for pod in world.api.objects.list("Pod"):
        world.servers.pod(pod["metadata"]["name"])  # it has traffic, and the canary none
    world.servers.new_pod = lambda: Pod()
    with pytest.raises(RolloutInconclusiveError):
        world.start(second)
    shown = operator.run_one("A stuck rollout", "slipway rollout status")
    assert f"version {second}: held" in shown
    operator.run_one("A stuck rollout", "slipway rollout abort")
    assert world.deployment("taxi-serving-canary") is None
    world.servers.new_pod = lambda: Pod(requests_each_reading=100)
    world.start(third)
    assert status(world) == (third, third)


@kubectl
@pytest.mark.parametrize(
    ("fate", "why"),
    [("image", "Back-off pulling image"), pytest.param("unschedulable", "Insufficient cpu", marks=pytest.mark.slow)],
)
def test_pods_of_a_stuck_rollout_say_why_to_who_may_roll_out(
    world: World, operator: Operator, fate: Fate, why: str
) -> None:
    world.start(world.versions[0])
    assert why not in operator.run_one("A stuck rollout", "kubectl --namespace $NAMESPACE get pods")
    world.api.fates["taxi-serving"] = fate
    deadline = time.monotonic() + 20
    while why not in operator.run_one("A stuck rollout", "kubectl --namespace $NAMESPACE get pods"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    operator.run_one("A stuck rollout", "kubectl --namespace $NAMESPACE logs")


@kubectl
def test_stuck_rollout_whose_deployment_is_paused_is_resumed(world: World, operator: Operator) -> None:
    world.start(world.versions[0])
    world.api.objects.edit("Deployment", NAMESPACE, "taxi-serving", "ann", paused=True)
    operator.do(copied("operations", "kubectl --namespace $NAMESPACE rollout resume"))
    assert "paused" not in world.api.objects.get("Deployment", NAMESPACE, "taxi-serving")["spec"]


def test_data_of_a_second_model_come_where_runs_read_them(
    operator: Operator, storage_server: StorageServer, tmp_path: Path
) -> None:
    (tmp_path / "customers.csv").write_text("age,churned\n30,0\n")
    operator.run_one("A second model", "gcloud storage cp customers.csv")
    assert storage.read_bytes(storage_server.uri("home/data/churn/customers.csv")) == b"age,churned\n30,0\n"


@pytest.mark.slow
def test_stuck_rollout_whose_process_died_goes_on(world: World, operator: Operator) -> None:
    first, second = world.versions[:2]
    world.start(first)

    def die() -> None:
        if world.deployment("taxi-serving-canary"):
            raise KeyboardInterrupt

    world.on_pause = die
    with pytest.raises(KeyboardInterrupt):
        world.start(second)
    world.on_pause = lambda: None
    assert status(world) == (first, first)
    operator.names["VERSION"] = str(second)
    operator.run_one("A stuck rollout", "slipway rollout start")
    assert status(world) == (second, second)
    assert world.deployment("taxi-serving-canary") is None


@pytest.mark.slow
@kubectl
def test_stuck_rollout_whose_record_is_damaged_is_started_anew(world: World, operator: Operator) -> None:
    first, second = world.versions[:2]
    world.start(first)
    lease = world.api.objects.get("Lease", NAMESPACE, "taxi-rollout")
    lease["metadata"]["annotations"][STATE] = "{"
    world.api.objects.replace(lease, "somebody")
    with pytest.raises(RolloutError, match="is not a rollout's state"):
        world.start(second)
    world.api.become_administrator()
    operator.run(
        "A stuck rollout", "kubectl --namespace $NAMESPACE annotate", "kubectl --namespace $NAMESPACE annotate"
    )
    world.start(second)
    assert status(world) == (second, second)


@pytest.mark.slow
def test_restore_of_the_state_brings_an_older_generation_back(
    world: World, operator: Operator, storage_server: StorageServer
) -> None:
    first, second = world.versions[:2]
    for number in (first, second):
        world.start(number)
    assert operator.gcloud
    whole = storage.read_bytes(storage_server.uri(STATE_OBJECT))
    operator.gcloud.generations["home/models/taxi/.state.json"] = {41: whole}
    storage_server.put(STATE_OBJECT, b'{"model": "ta')
    with pytest.raises(StoreError, match="restore it from a backup"):
        world.store.history("taxi")
    listed = operator.run_one("Restore .state.json", "gcloud storage ls")
    operator.names["GENERATION"] = re.findall(r"#(\d+)", listed)[0]
    *_, history, shown = operator.run("Restore .state.json", "gcloud storage cp", "slipway rollout status")
    assert status(world) == (second, second)
    assert "promote" in history
    assert f"production in the model store: {second}" in shown
    operator.names["SERVING"] = str(second)
    operator.do(copied("operations", 'slipway models promote $MODEL/SERVING --env $ENV --why "restored"'))
    assert status(world) == (second, second)
    with world.cluster() as cluster:
        world.rollout(cluster).rollback("the way back is there")
    assert status(world) == (first, first)


@pytest.mark.slow
def test_restore_of_the_state_without_an_older_generation_makes_a_new_one(
    world: World, operator: Operator, storage_server: StorageServer
) -> None:
    before, bad, serving = world.versions
    for number in (before, bad):
        world.start(number)
    with world.cluster() as cluster:
        world.rollout(cluster).rollback("bad")
    world.start(serving)
    storage_server.put(STATE_OBJECT, b"")
    operator.names |= {"BEFORE": str(before), "SERVING": str(serving), "BAD": str(bad)}
    operator.run("Restore .state.json", "gcloud storage rm")
    assert status(world) == (serving, serving)
    assert list(world.store.stages("taxi").values()) == ["retired", "quarantined", "stable"]
    with world.cluster() as cluster:
        world.rollout(cluster).rollback("there is a way back, past the bad one")
    assert status(world) == (before, before)


@pytest.mark.slow
def test_backup_of_the_bucket_brings_all_versions_back(
    world: World, operator: Operator, storage_server: StorageServer
) -> None:
    first, second = world.versions[:2]
    for number in (first, second):
        world.start(number)
    storage_server.put("home/requests/model=taxi/a.parquet", b"a person's")
    title = "Back up the bucket, and restore it"
    operator.run_one(title, "gcloud storage rsync --recursive --exclude")
    assert not storage.exists(storage_server.uri("backup/requests"))
    for folder in ("models", "manifests", "requests"):
        storage.delete_folder(storage_server.uri(f"home/{folder}"))
    assert world.store.models() == []
    *_, shown = operator.run(title, "gcloud storage rsync --recursive gs://$BUCKET-backup")
    assert status(world) == (second, second)
    assert f"production in the model store: {second}" in shown
    with world.cluster() as cluster:  # with the overlay that was restored, too
        world.rollout(cluster).rollback("bad")
    assert status(world) == (first, first)
    assert not any("using the one of this checkout" in line for line in world.said)


@pytest.mark.slow
def test_upgrade_of_tensorflow_serving_changes_the_server_and_no_version(
    world: World, operator: Operator, tmp_path: Path
) -> None:
    first = world.versions[0]
    operator.do(f"slipway rollout start $MODEL/{first} --env $ENV")
    digest = "sha256:" + "b" * 64
    overlay = tmp_path / "overlay" / "kustomization.yaml"
    overlay.write_text(re.sub(r"sha256:a{64}", digest, overlay.read_text()))
    _, shown = operator.run("Upgrade", "slipway rollout refresh", "slipway rollout status $MODEL")
    assert status(world) == (first, first)
    pods = world.api.objects.list("Pod")
    assert {one["spec"]["containers"][0]["image"] for one in pods if "deletionTimestamp" not in one["metadata"]} == {
        f"tensorflow/serving@{digest}"
    }
    assert re.search(f"taxi +stable +{first} +1 of 1", shown)
    if shutil.which("kubectl"):
        assert digest in operator.do(copied("operations", "kubectl --namespace $NAMESPACE get pods --output yaml"))


def test_rows_of_a_person_are_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "requests"
    rows = [{"fare": 1.0, "customer": "4711"}, {"fare": 2.0, "customer": "4712"}]
    write_requests(log, "taxi", 1, datetime(2026, 11, 25, tzinfo=UTC), rows, [0.5, 0.5])
    monkeypatch.setenv("SLIPWAY_REQUEST_LOG", str(log))
    operator = Operator({"ENV": "staging"})
    said = operator.run("Delete a person's rows")
    assert [re.findall(r"elete[d]? (\d) rows", one) for one in said] == [["1"], ["1"], ["0"]]
    assert "Would delete 1 rows" in operator.do("slipway request-log delete --key customer=4712 --env $ENV --dry-run")


class Channel(LoopbackServer):
    """Where a webhook's messages arrive."""

    def handle(self, request: Request) -> Answer:
        return Answer(200, b"ok")


def test_secret_that_was_rotated_is_read_at_the_next_message(
    storage_server: StorageServer, secret_manager: SecretManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIPWAY_NOTIFICATIONS__WEBHOOK__URL", NAME)
    with Channel() as channel:
        secret_manager.value = f"{channel.url}/old"
        (tmp_path / "new-value.txt").write_text(f"{channel.url}/new")
        gcloud = Gcloud(storage_server, secrets=secret_manager, folder=tmp_path)
        Operator({"ENV": "staging", "PROJECT": "p", "OLD": "1"}, gcloud, tmp_path).run("Rotate credentials")
        assert [request.path for request in channel.requests] == ["/new"]
    assert list(tmp_path.iterdir()) == []


def test_upgrade_of_the_cluster_renews_recurring_runs(kubeflow: FakeKubeflow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_SERVING__OVERLAY", "")
    monkeypatch.setenv("SLIPWAY_SCHEDULES", '{"nightly": {"module": "taxi", "cron": "0 3 * * *"}}')
    operator = Operator({"ENV": "staging"})
    kubeflow.version = "2.16.1"
    operator.run_one("Upgrade", "slipway schedules apply")
    kubeflow.version = "2.17.0"
    listed, applied = operator.run("Upgrade", "slipway schedules list", "slipway schedules apply")
    assert "made under Kubeflow Pipelines 2.16.1" in " ".join(listed.split())
    assert "replace nightly" in applied
    assert "made under" not in operator.run_one("Upgrade", "slipway schedules list")
