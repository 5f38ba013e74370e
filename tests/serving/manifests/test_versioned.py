"""A model and a version are put into the real overlays, and nothing else is touched."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import kubernetes_validate
import pytest

from serving.manifests import INSTANCE, TRACK, VERSION, Object, Track, containers, for_version, object_name
from slipway.errors import ConfigError
from tests.manifests.rendering import COMBINATIONS, OVERLAYS, rendered
from tests.manifests.server import parse_models_config, server_problems

STORE = "gs://bucket/models"
PROBED = "/v1/models/taxi_fares/versions/7/metadata"


@pytest.fixture(params=OVERLAYS, ids=lambda overlay: overlay.name)
def overlay(request: pytest.FixtureRequest) -> list[Object]:
    return rendered(request.param)


@pytest.fixture
def volume() -> list[Object]:
    """The base with a canary: models on a volume."""
    (folder,) = (path for path in COMBINATIONS if path.name == "canary")
    return rendered(folder)


def seventh(objects: list[Object], track: Track = "stable", **given: Any) -> list[Object]:
    return for_version(objects, "taxi_fares", 7, track=track, **{"models_path": STORE, **given})


def of_kind(objects: list[Object], kind: str) -> dict[str, Object]:
    return {each["metadata"]["name"]: each for each in objects if each["kind"] == kind}


def leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    entries = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else None
    if entries is None:
        yield path, node
        return
    for key, value in entries:
        yield from leaves(value, f"{path}/{key}")


@pytest.mark.parametrize("track", ["stable", "canary"])
def test_for_version_deployment_pins_probes_and_is_labelled(overlay: list[Object], track: Track) -> None:
    objects = seventh(overlay, track)
    ((name, deployment),) = of_kind(objects, "Deployment").items()
    assert name == ("taxi-fares-serving" if track == "stable" else "taxi-fares-serving-canary")
    template = deployment["spec"]["template"]
    for labels in (deployment["metadata"]["labels"], template["metadata"]["labels"]):
        assert (labels[INSTANCE], labels[VERSION], labels[TRACK]) == ("taxi-fares", "7", track)
    (name,) = (name for name in of_kind(objects, "ConfigMap") if name.startswith("taxi-fares-models-v7-"))
    assert name in [volume["configMap"]["name"] for volume in template["spec"]["volumes"] if "configMap" in volume]
    pin = of_kind(objects, "ConfigMap")[name]
    assert parse_models_config(pin["data"]["models.config"]) == ("taxi_fares", [7], f"{STORE}/taxi_fares")
    assert pin["immutable"] is True
    asked = [
        probe["httpGet"]["path"]
        for container in containers([deployment])
        for probe in (container.get("startupProbe", {}), container["readinessProbe"])
        if probe
    ]
    assert set(asked) == {PROBED}
    assert len(asked) == 1 + len(list(containers([deployment])))


def test_for_version_stable_has_everything_but_the_canarys(overlay: list[Object]) -> None:
    kept = [(each["kind"], each["metadata"]["labels"].get(TRACK)) for each in seventh(overlay)]
    tracks = [(each["kind"], each["metadata"]["labels"].get(TRACK)) for each in overlay]
    assert kept == [each for each in tracks if each[1] != "canary"]


def test_for_version_canary_has_nothing_that_stable_traffic_depends_on(overlay: list[Object]) -> None:
    kinds = {each["kind"]: each["metadata"]["name"] for each in seventh(overlay, "canary")}
    assert kinds.keys() == {"ConfigMap", "Deployment", "Service", "ServiceAccount"}
    assert kinds["Service"] == "taxi-fares-serving-canary"


def test_for_version_two_versions_differ_in_allow_listed_fields_only(overlay: list[Object]) -> None:
    one = seventh(overlay)
    two = for_version(overlay, "taxi_fares", 8, track="stable", models_path=STORE)
    changed = {
        (each["kind"], path)
        for each, other in zip(one, two, strict=True)
        for (path, value), (_, new) in zip(leaves(each), leaves(other), strict=True)
        if value != new
    }
    for kind, path in changed:
        assert (kind, path.rpartition("/")[2]) in {
            ("ConfigMap", "name"), ("ConfigMap", "models.config"), ("ConfigMap", "version"),
            ("Deployment", "name"), ("Deployment", "path"), ("Deployment", "version"),
        }, path  # fmt: skip
    # The pin's name, text and label; the reference to it, two labels, a startup probe and each container's readiness.
    assert len(changed) == 3 + 4 + len(list(containers(one)))


def test_for_version_two_models_differ_in_names_and_instances_only(overlay: list[Object]) -> None:
    one, two = (for_version(overlay, model, 7, track="stable", models_path=STORE) for model in ("taxi_fares", "tips"))
    for each, other in zip(one, two, strict=True):
        for (path, value), (_, new) in zip(leaves(each), leaves(other), strict=True):
            if value != new:
                assert path.rpartition("/")[2] in {"name", "serviceAccountName", "instance", "path", "models.config"}
                # What a pin's name ends with is the hash of a text that names the model.
                values = [re.sub(r"(?<=-v7-)\w{8}$", "", str(one)) for one in (value, new)]
                renamed = [one.replace("taxi_fares", "tips").replace("taxi-fares", "tips") for one in values]
                assert renamed[0] == renamed[1]


def test_for_version_input_stays_as_it_is(overlay: list[Object]) -> None:
    before = deepcopy(overlay)
    first = seventh(overlay)
    assert overlay == before
    assert seventh(overlay) == first


@pytest.mark.parametrize(("replicas", "expected"), [(None, 0), (0, 0), (2, 2)])
def test_for_version_canary_replicas_are_set(overlay: list[Object], replicas: int | None, expected: int) -> None:
    (deployment,) = of_kind(seventh(overlay, "canary", replicas=replicas), "Deployment").values()
    assert deployment["spec"]["replicas"] == expected


def test_for_version_stable_replicas_are_the_autoscalers(overlay: list[Object]) -> None:
    with pytest.raises(ConfigError, match=r"Deployment model-serving lacks spec\.replicas"):
        seventh(overlay, replicas=2)


def test_for_version_models_on_the_volume_are_served(volume: list[Object]) -> None:
    maps = of_kind(seventh(volume, models_path="/models/store"), "ConfigMap")
    (pin,) = (each for name, each in maps.items() if name.startswith("taxi-fares-models-v7-"))
    assert parse_models_config(pin["data"]["models.config"])[2] == "/models/store/taxi_fares"


@pytest.mark.parametrize("track", ["stable", "canary"])
@pytest.mark.parametrize("combination", ["canary-fetch-model", "canary-gcs-fetch-model"])
@pytest.mark.parametrize("store", ["s3://bucket/models?endpoint_override=minio.minio:9000", "gs://bucket/models"])
def test_for_version_pods_that_fetch_get_the_version_from_the_store_and_serve_it_from_their_disk(
    combination: str, track: Track, store: str
) -> None:
    (folder,) = (path for path in COMBINATIONS if path.name == combination)
    objects = seventh(rendered(folder), track, models_path=store)
    assert list(server_problems(objects)) == []
    (deployment,) = of_kind(objects, "Deployment").values()
    (fetcher,) = deployment["spec"]["template"]["spec"]["initContainers"]
    assert fetcher["args"] == ["taxi_fares", "7", "--to=/models/taxi_fares", f"--store={store}"]
    assert fetcher["envFrom"] == [{"secretRef": {"name": "model-store", "optional": True}}]
    kubernetes_validate.validate(deployment, kubernetes_validate.latest_version(), strict=True)


def test_for_version_path_on_no_volume_is_refused(volume: list[Object]) -> None:
    with pytest.raises(
        ConfigError, match=r"/models/taxi_fares is on no volume of model-serving, which mounts .*/models"
    ):
        seventh(volume, models_path="/home/me/models")


def test_for_version_overlay_that_renamed_the_server_is_refused(volume: list[Object]) -> None:
    for container in containers(volume):
        container["name"] = container["name"].replace("tensorflow-serving", "server")
    with pytest.raises(ConfigError, match="model-serving lacks the container tensorflow-serving"):
        seventh(volume)


@pytest.mark.parametrize("path", ["models", "gs://", '/models/"x', "/models/../etc", "/models/a\nb"])
def test_for_version_base_path_that_cannot_be_is_refused(volume: list[Object], path: str) -> None:
    with pytest.raises(ConfigError, match="gs://bucket/path or an absolute path"):
        seventh(volume, models_path=path)


def test_for_version_overlay_without_a_canary_names_the_component(volume: list[Object]) -> None:
    stable = seventh(volume)
    with pytest.raises(
        ConfigError, match=r"0 objects of kind Deployment, and needs one: .*, from manifests/components/can"
    ):
        seventh(stable, "canary")


def _without(objects: list[Object], kind: str) -> None:
    objects[:] = [each for each in objects if each["kind"] != kind]


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (lambda it: _without(it, "Deployment"), "0 objects of kind Deployment, and needs one: slipway/track=stable"),
        (lambda it: _without(it, "ConfigMap"), "0 objects of kind ConfigMap, and needs one: name model-models-v1"),
        (lambda it: it.append(deepcopy(of_kind(it, "Deployment")["model-serving"])), "2 objects of kind Deployment"),
        (lambda it: of_kind(it, "Deployment")["model-serving"]["metadata"]["labels"].pop(VERSION),
         r"Deployment model-serving lacks metadata\.labels\.app\.kubernetes\.io/version"),
        (lambda it: of_kind(it, "Deployment")["model-serving"]["spec"]["template"]["spec"]["volumes"].clear(),
         r"lacks .*volumes.*configMap.*: model-models-v1"),
        (lambda it: of_kind(it, "Deployment")["model-serving"]["spec"]["template"]["spec"]["containers"][0].pop(
            "readinessProbe"), r"lacks .*readinessProbe.*: /v1/models/model/versions/1/metadata"),
    ],
)  # fmt: skip
def test_for_version_objects_that_lack_what_is_set_are_refused(
    volume: list[Object], fault: Callable[[list[Object]], object], says: str
) -> None:
    fault(volume)
    with pytest.raises(ConfigError, match=says):
        seventh(volume)


@pytest.mark.parametrize(("model", "name"), [("taxi", "taxi"), ("taxi_fares_2", "taxi-fares-2"), ("m" * 48, "m" * 48)])
def test_object_name_of_a_module_is_one_that_kubernetes_takes(model: str, name: str) -> None:
    assert object_name(model) == name


@pytest.mark.parametrize("model", ["taxi_", "m" * 49, "Taxi", "2taxi", "taxi.fares"])
def test_object_name_that_kubernetes_refuses_is_an_error(model: str) -> None:
    with pytest.raises(ConfigError, match="rename the module"):
        object_name(model)
