"""Pods that fetch their version from S3 before the server starts: what the real program ends with is the reason."""

from __future__ import annotations

import copy
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from serving.manifests import FETCHER, Object, publish_manifests
from settings.load import PROJECT
from slipway.errors import ConfigError, RolloutError
from slipway.evaluation.golden import Golden, write_golden
from slipway.stores.model_store import open_store
from tests.fakes.fault_proxy import FaultProxy
from tests.fakes.kubernetes.controller import Crash
from tests.fakes.kubernetes.world import World, staging_that_fetches
from tests.fakes.s3_policy import Policy
from tests.fakes.s3_server import S3FaultProxy, S3Server
from tests.model_files import provenance, write_model
from tests.small_disk import mount_small_disk

CANARY = "taxi-serving-canary"
DATA = "variables/variables.data-00000-of-00001"
DENIED = Crash("error: s3://bucket/models/taxi/2/saved_model.pb: the account lacks s3:GetObject", 1, times=2)


@pytest.fixture
def fetched(world: World, s3_server: S3Server, s3_proxy: FaultProxy, tmp_path: Path) -> World:
    """Version one is in production, from a store on S3, which pods reach through the proxy."""
    world.store = open_store(s3_server.uri("models"))
    world.versions = []
    for seed in (1, 2):
        model = write_model(tmp_path / f"model-{seed}", seed)
        write_golden(Golden.of([b"one", b"two"], [0.25, 0.75]), model)
        world.versions.append(world.store.push(model, provenance()).version.number)
    world.objects = copy.deepcopy(staging_that_fetches())
    world.policy = world.policy.model_copy(update={"models_path": s3_proxy.uri("models", retry_seconds=0.3)})
    world.start(world.versions[0])
    return world


def fetcher(deployment: Object) -> Object:
    [container] = deployment["spec"]["template"]["spec"]["initContainers"]
    assert container["name"] == FETCHER
    return dict(container)


def run_fetcher(container: Object, models: Path) -> Crash:
    """How the container's command ends, with a folder in place of its volume, when a kubelet has tried it twice."""
    [program, *arguments] = [one.replace("=/models", f"={models}") for one in container["command"] + container["args"]]
    command = [str(Path(sys.executable).with_name(program)), *arguments]
    variables = {name: value for name, value in os.environ.items() if not name.startswith("SLIPWAY_")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=variables)
    return Crash(done.stderr.strip(), done.returncode, times=2)


def fetch_really(world: World, models: Path, fault: Callable[[], object]) -> None:
    """The canary's container fetches, once the rollout has started it and the fault is there."""
    world.api.fates[CANARY] = "fetching"

    def run() -> None:
        canary = world.deployment(CANARY)
        if canary and world.api.fates.get(CANARY) == "fetching":
            fault()
            crash = world.api.controller.crash = run_fetcher(fetcher(canary), models)
            world.api.fates[CANARY] = "fetch" if crash.exit_code else "ready"

    world.on_pause = run


def fails(world: World, why: str) -> None:
    """The second version is rolled back, without blame, and the first still serves."""
    first, second = world.versions
    with pytest.raises(RolloutError, match=why):
        world.start(second)
    assert world.stable == first
    assert world.deployment(CANARY) is None
    assert world.store.stage("taxi", second) == "retired"


def test_pods_fetch_exactly_the_pinned_version_and_serve_it_from_their_disk(fetched: World, tmp_path: Path) -> None:
    fetch_really(fetched, tmp_path / "pod", lambda: None)
    second = fetched.versions[1]
    fetched.start(second)
    assert fetched.stable == second
    assert [path.name for path in (tmp_path / "pod" / "taxi").iterdir() if path.name[0] != "."] == [str(second)]
    stable = fetched.deployment("taxi-serving")
    assert stable
    assert fetcher(stable)["args"] == [
        "taxi",
        str(second),
        "--to=/models/taxi",
        f"--store={fetched.policy.models_path}",
    ]
    [pin] = [
        one["data"]["models.config"]
        for one in fetched.api.objects.list("ConfigMap")
        if f"-models-v{second}-" in one["metadata"]["name"]
    ]
    assert 'base_path: "/models/taxi"' in pin


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (lambda it, name: it.put(name, b"?" * 5_000), rf"is not what was pushed: .*{DATA} was changed"),
        pytest.param(
            lambda it, name: it.put(name, b"?"),
            rf"is not what was pushed: .*{DATA} was changed: 1 bytes",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            lambda it, name: it.delete(name), rf"{DATA}: cannot read: there is no such file", marks=pytest.mark.slow
        ),
    ],
)
def test_version_that_the_store_has_not_as_it_was_pushed_is_not_served(
    fetched: World, s3_server: S3Server, tmp_path: Path, fault: Callable[[S3Server, str], None], why: str
) -> None:
    name = f"models/taxi/{fetched.versions[1]}/{DATA}"
    fetch_really(fetched, tmp_path / "pod", lambda: fault(s3_server, name))
    fails(fetched, rf"container {FETCHER} of pod .*CrashLoopBackOff.*exit code 1(.|\n)*{why}")


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (403, "the account lacks s3:GetObject"),
        pytest.param(503, r"tried for 0\.3 s.*down or out of reach", marks=pytest.mark.slow),
    ],
)
def test_store_that_refuses_is_the_reason_until_it_heals(
    fetched: World, s3_proxy: FaultProxy, tmp_path: Path, status: int, why: str
) -> None:
    fetch_really(fetched, tmp_path / "pod", lambda: s3_proxy.inject("status", status=status, on="GET models/taxi/.*pb"))
    fails(fetched, f"container {FETCHER} of pod (.|\n)*{why}")
    s3_proxy.faults.clear()
    fetch_really(fetched, tmp_path / "pod", lambda: s3_proxy.inject("status", times=2))
    fetched.start(fetched.versions[1])
    assert fetched.stable == fetched.versions[1]


@pytest.mark.slow
def test_store_out_of_reach_is_the_reason(fetched: World, tmp_path: Path) -> None:
    nowhere = "s3://bucket/models?scheme=http&endpoint_override=127.0.0.1:1&retry_limit_seconds=0.3"
    fetched.policy = fetched.policy.model_copy(update={"models_path": nowhere})
    fetch_really(fetched, tmp_path / "pod", lambda: None)
    fails(fetched, r"tried for 0\.3 s: .*check the network, AWS_ENDPOINT_URL")


@pytest.mark.slow
def test_full_disk_is_the_reason(fetched: World, tmp_path: Path) -> None:
    with mount_small_disk(tmp_path / "pod", "8k") as disk:
        fetch_really(fetched, disk, lambda: None)
        fails(fetched, r"cannot be fetched to .*No space left: [\d,]+ bytes are still to come")


def test_volume_that_overflows_ends_the_rollout_at_once(fetched: World) -> None:
    fetched.policy = fetched.policy.model_copy(update={"ready_seconds": 600})
    fetched.api.fates[CANARY] = "too-large"
    fails(fetched, r'Usage of EmptyDir volume "models" exceeds the limit "10Gi".*sizeLimit.* overlay')


def test_version_that_is_larger_than_the_volume_is_refused_before_anything_changes(fetched: World) -> None:
    for each in fetched.objects:
        for volume in each.get("spec", {}).get("template", {}).get("spec", {}).get("volumes", []):
            if volume["name"] == "models":
                volume["emptyDir"]["sizeLimit"] = "8Ki"
    before = len(fetched.api.objects.writes)
    with pytest.raises(ConfigError, match=r"volume `models` of .* takes 8Ki: raise its sizeLimit"):
        fetched.start(fetched.versions[1])
    assert {kind for kind, _, _ in fetched.api.objects.writes[before:]} == {"Lease"}


@pytest.mark.slow
def test_first_failure_is_said_and_not_the_end(fetched: World) -> None:
    fetched.api.fates[CANARY] = "fetch"
    fetched.api.controller.crash = Crash(DENIED.log, DENIED.exit_code, times=1)
    looks = iter(range(5))

    def told() -> list[str]:
        return [line for line in fetched.said if "not ready yet" in line and DENIED.log in line]

    def heal() -> None:
        if told() and next(looks, None) is None:
            fetched.api.fates.clear()

    fetched.on_pause = heal
    fetched.start(fetched.versions[1])
    assert len(told()) == 1
    assert fetched.stable == fetched.versions[1]


def test_fetch_that_takes_too_long_names_the_setting(fetched: World) -> None:
    fetched.policy = fetched.policy.model_copy(update={"ready_seconds": 1})
    fetched.api.fates[CANARY] = "fetching"
    fails(fetched, r"not ready after 1 s: .*still fetches the version; give it longer: serving\.ready_seconds")


@pytest.mark.slow
def test_controller_waits_as_long_as_the_rollout(fetched: World) -> None:
    fetched.policy = fetched.policy.model_copy(update={"ready_seconds": 3_600})
    fetched.start(fetched.versions[1])
    stable = fetched.deployment("taxi-serving")
    assert stable
    assert stable["spec"]["progressDeadlineSeconds"] == 3_600


@pytest.mark.slow
def test_stable_that_cannot_fetch_goes_back(fetched: World) -> None:
    first, second = fetched.versions
    fetched.api.fates[f"taxi-serving@{second}"] = "fetch"
    fetched.api.controller.crash = DENIED
    fails(fetched, re.escape(DENIED.log))
    fetched.api.fates.clear()
    fetched.start(second)
    with fetched.cluster() as cluster:
        fetched.rollout(cluster).rollback("slow")
    stable = fetched.deployment("taxi-serving")
    assert stable
    assert fetcher(stable)["args"][1] == str(first)


def test_step_of_a_run_rolls_out_with_the_rights_of_the_trainer(
    world: World, s3_server: S3Server, s3_proxy: S3FaultProxy, tmp_path: Path
) -> None:
    """Its overlay is where `submit` published it, where the step may not write."""
    model = write_model(tmp_path / "model", 1)
    write_golden(Golden.of([b"one", b"two"], [0.25, 0.75]), model)
    number = open_store(s3_server.uri("slipway/models")).push(model, provenance()).version.number
    world.objects = copy.deepcopy(staging_that_fetches())
    publish_manifests(world.objects, s3_server.uri("slipway"))
    world.store = open_store(s3_proxy.uri("slipway/models"))
    world.policy = world.policy.model_copy(update={"models_path": world.store.uri})
    rights = Policy(PROJECT / "infrastructure" / "s3" / "trainer.json")
    s3_proxy.code, s3_proxy.faults = "AccessDenied", [rights]
    world.start(number)
    assert (world.stable, rights.denied) == (number, [])
    assert world.store.stage("taxi", number) == "stable"


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/models", "fetched from gs:// or s3://, not from a volume"),
        ("s3://bucket/models", r"reads no s3://; list .*components/fetch-model"),
    ],
)
def test_store_that_the_overlay_cannot_read_is_refused_before_anything_changes(
    fetched: World, path: str, says: str
) -> None:
    fetched.policy = fetched.policy.model_copy(update={"models_path": path})
    if path.startswith("s3://"):
        for each in fetched.objects:
            each.get("spec", {}).get("template", {}).get("spec", {}).pop("initContainers", None)
    before = len(fetched.api.objects.writes)
    with pytest.raises(ConfigError, match=says):
        fetched.start(fetched.versions[1])
    assert {kind for kind, _, _ in fetched.api.objects.writes[before:]} == {"Lease"}
