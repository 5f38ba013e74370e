"""The checks of this folder find what they are for: each of these faults was put into sound manifests."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import kubernetes_validate
import pytest
from google.protobuf.text_format import ParseError

from serving.manifests import INSTANCE, TRACK, VERSION, Object
from tests.manifests.monitoring import MonitoringConfig
from tests.manifests.pod_security import restricted_problems
from tests.manifests.rendering import COMBINATIONS, rendered
from tests.manifests.selectors import port_problems, reference_problems, selector_problems
from tests.manifests.server import parse_models_config, server_problems

Fault = Callable[[dict[str, Object]], object]
Check = Callable[[list[Object]], Iterator[str]]


@pytest.fixture
def sound() -> dict[str, Object]:
    """Objects by kind and name, with a canary and a request logger."""
    (folder,) = (path for path in COMBINATIONS if path.name == "canary-request-logger")
    return {f"{each['kind']}/{each['metadata']['name'].partition('-m967')[0]}": each for each in rendered(folder)}


def pod(objects: dict[str, Object], canary: bool = False) -> dict[str, Any]:
    name = "Deployment/model-serving" + ("-canary" if canary else "")
    spec: dict[str, Any] = objects[name]["spec"]["template"]["spec"]
    return spec


def server(objects: dict[str, Object]) -> dict[str, Any]:
    container: dict[str, Any] = pod(objects)["containers"][0]
    return container


def logger(objects: dict[str, Object]) -> dict[str, Any]:
    container: dict[str, Any] = pod(objects)["containers"][1]
    return container


def _canary_as_stable(objects: dict[str, Object]) -> None:
    spec = objects["Deployment/model-serving-canary"]["spec"]
    spec["selector"]["matchLabels"][TRACK] = "stable"
    spec["template"]["metadata"]["labels"][TRACK] = "stable"


def _without_track(objects: dict[str, Object]) -> None:
    del objects["Deployment/model-serving"]["spec"]["selector"]["matchLabels"][TRACK]


def _version_selected(objects: dict[str, Object]) -> None:
    objects["Service/model-serving"]["spec"]["selector"][VERSION] = "1"


def _version_of_pin(objects: dict[str, Object]) -> None:
    data = objects["ConfigMap/model-models-v1"]["data"]
    data["models.config"] = data["models.config"].replace("versions: 1", "versions: 2")


@pytest.mark.parametrize(
    ("fault", "check", "says"),
    [
        (_canary_as_stable, selector_problems, "Deployment model-serving: picks the pods of"),
        (_without_track, selector_problems, "Deployment model-serving: picks the pods of"),
        (_version_selected, selector_problems, "Service model-serving: .* changes with a version"),
        (lambda it: it["Service/model-serving"]["spec"]["selector"].update({INSTANCE: "taxi"}), selector_problems,
         r"Service model-serving: picks the pods of \[\]"),
        (lambda it: it["Service/model-serving"]["spec"]["selector"].update({TRACK: "stable"}), selector_problems,
         "Service model-serving: picks"),
        (lambda it: it["Service/model-serving-canary"]["spec"]["selector"].pop(TRACK), selector_problems,
         "Service model-serving-canary: picks"),
        (lambda it: it["PodDisruptionBudget/model-serving"]["spec"]["selector"]["matchLabels"].pop(TRACK),
         selector_problems, "PodDisruptionBudget model-serving: picks"),
        (lambda it: it["NetworkPolicy/model-serving"]["spec"]["podSelector"].pop("matchLabels"), selector_problems,
         "NetworkPolicy model-serving: .* picks everything"),
        (lambda it: pod(it)["topologySpreadConstraints"][1]["labelSelector"]["matchLabels"].pop(TRACK),
         selector_problems, "spread of model-serving: picks"),
        (lambda it: it["HorizontalPodAutoscaler/model-serving"]["spec"]["scaleTargetRef"].update(
            name="model-serving-canary"), reference_problems, "not its track's Deployment"),
        (lambda it: it["Deployment/model-serving"]["spec"].update(replicas=3), reference_problems, "it is scaled"),
        (lambda it: it.pop("ConfigMap/model-models-v1"), reference_problems, "'model-models-v1'.* is not there"),
        (lambda it: it.pop("ServiceAccount/model-serving"), reference_problems, "ServiceAccount.* is not there"),
        (lambda it: logger(it)["envFrom"][0]["configMapRef"].update(name="x"), reference_problems, "is not there"),
        (lambda it: pod(it)["volumes"].append({"name": "spare", "emptyDir": {}}), reference_problems, "mounted"),
        (lambda it: logger(it)["ports"][1].update(name="http"), port_problems, "has no port rest"),
        (lambda it: server(it)["ports"][0].update(containerPort=8500), port_problems, "two ports are 8500"),
        (lambda it: server(it)["readinessProbe"]["httpGet"].update(port="rest"), port_problems, "asks port rest"),
        (lambda it: it["NetworkPolicy/model-serving"]["spec"]["ingress"][0]["ports"].pop(0), port_problems, "admits"),
        (_version_of_pin, server_problems, r"pins \[2\], is labelled 1"),
        (lambda it: server(it)["args"].append("--model_name=x"), server_problems, "unknown flag model_name"),
        (lambda it: server(it)["env"][0].update(value="8500"), server_problems, "declares"),
        (lambda it: logger(it)["args"].__setitem__(2, "--upstream-rest=127.0.0.1:8501"), server_problems, "forwards"),
        (lambda it: logger(it)["args"].append("--spare=1"), server_problems, "the logger's flags"),
        (lambda it: logger(it)["readinessProbe"]["httpGet"].update(path="/v1/models/model"), server_problems,
         "readinessProbe of request-logger"),
        (lambda it: server(it).update(livenessProbe=server(it)["readinessProbe"]), server_problems, "more than a conn"),
        (lambda it: server(it)["startupProbe"].update(failureThreshold=3), server_problems, "shorter than a load"),
        (lambda it: pod(it).update(terminationGracePeriodSeconds=15), server_problems, "preStop"),
        (lambda it: server(it)["volumeMounts"].pop(2), server_problems, "is on no volume"),
        (lambda it: it["Deployment/model-serving"]["spec"]["strategy"]["rollingUpdate"].update(maxUnavailable=1),
         server_problems, "before its successor"),
        (lambda it: logger(it)["securityContext"].update(readOnlyRootFilesystem=False), server_problems, "read-only"),
    ],
)  # fmt: skip
def test_checks_fault_in_sound_manifests_is_found(
    sound: dict[str, Object], fault: Fault, check: Check, says: str
) -> None:
    assert list(check(list(sound.values()))) == []
    fault(sound)
    assert re.search(says, "\n".join(check(list(sound.values()))))


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (lambda it: it["args"].__setitem__(1, "2"), "fetches .* serves .*'1'"),
        (lambda it: it["args"].__setitem__(2, "--to=/models"), "fetches .* from /models/model"),
        (lambda it: it["volumeMounts"][0].update(readOnly=True), "cannot write"),
        (lambda it: it["securityContext"].update(readOnlyRootFilesystem=False), "read-only root"),
        (lambda it: it.update(terminationMessagePolicy="File"), "its error does not come"),
        (lambda it: it["resources"]["requests"].update(memory="2Gi"), "its requests are more than the server's"),
        (lambda it: it["resources"]["limits"].clear(), "resources"),
    ],
)
def test_checks_fault_in_a_container_that_fetches_is_found(fault: Callable[[Any], object], says: str) -> None:
    (folder,) = (path for path in COMBINATIONS if path.name == "fetch-model")
    objects = rendered(folder)
    assert list(server_problems(objects)) == []
    (deployment,) = (each for each in objects if each["kind"] == "Deployment")
    fault(deployment["spec"]["template"]["spec"]["initContainers"][0])
    assert re.search(says, "\n".join(server_problems(objects)))


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (lambda it: pod(it).update(hostNetwork=True), "hostNetwork is set"),
        (lambda it: pod(it).update(hostPID=True), "hostPID is set"),
        (lambda it: pod(it)["volumes"].append({"name": "host", "hostPath": {"path": "/"}}), "volume host"),
        (lambda it: pod(it)["securityContext"].pop("runAsNonRoot"), "runAsNonRoot is not true"),
        (lambda it: server(it)["securityContext"].update(runAsNonRoot=False), "runAsNonRoot is not true"),
        (lambda it: pod(it)["securityContext"].update(runAsUser=0), "pod: runAsUser 0"),
        (lambda it: server(it)["securityContext"].update(runAsUser=0), "container: runAsUser 0"),
        (lambda it: pod(it)["securityContext"].pop("seccompProfile"), "seccompProfile None"),
        (lambda it: server(it)["securityContext"].update(seccompProfile={"type": "Unconfined"}), "seccompProfile Unc"),
        (lambda it: pod(it)["securityContext"].update(sysctls=[{"name": "kernel.msgmax", "value": "1"}]), "sysctl"),
        (lambda it: pod(it)["securityContext"].update(seLinuxOptions={"user": "root"}), "seLinuxOptions"),
        (lambda it: pod(it)["securityContext"].update(appArmorProfile={"type": "Unconfined"}), "appArmorProfile"),
        (lambda it: pod(it)["securityContext"].update(windowsOptions={"hostProcess": True}), "hostProcess"),
        (lambda it: server(it)["securityContext"].pop("allowPrivilegeEscalation"), "allowPrivilegeEscalation"),
        (lambda it: server(it)["securityContext"].update(privileged=True), "privileged"),
        (lambda it: server(it)["securityContext"].update(procMount="Unmasked"), "procMount"),
        (lambda it: server(it)["securityContext"].update(capabilities={"drop": ["NET_RAW"]}), "capabilities"),
        (lambda it: server(it)["securityContext"]["capabilities"].update(add=["SYS_PTRACE"]), "capabilities"),
        (lambda it: server(it)["ports"][0].update(hostPort=8500), "hostPort"),
        (lambda it: server(it)["livenessProbe"]["tcpSocket"].update(host="10.0.0.1"), "livenessProbe names a host"),
        (lambda it: server(it)["lifecycle"].update(preStop={"httpGet": {"host": "x"}}), "lifecycle names a host"),
        (lambda it: pod(it).update(initContainers=[{"name": "fetch"}]), "fetch: runAsNonRoot|fetch: allowPrivilege"),
    ],
)  # fmt: skip
def test_restricted_problems_forbidden_field_is_found(sound: dict[str, Object], fault: Fault, says: str) -> None:
    assert list(restricted_problems(pod(sound))) == []
    fault(sound)
    assert re.search(says, "\n".join(restricted_problems(pod(sound))))


@pytest.mark.parametrize(
    "fault",
    [
        lambda it: it["Deployment/model-serving"]["spec"].update(replcas=2),
        lambda it: server(it)["env"][0].update(value=8500),
        lambda it: server(it)["resources"].update(limit={}),
        lambda it: it["Deployment/model-serving"]["spec"].pop("selector"),
    ],
)
def test_kubernetes_validate_wrong_field_is_found(sound: dict[str, Object], fault: Fault) -> None:
    fault(sound)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(
            sound["Deployment/model-serving"], kubernetes_validate.latest_version(), strict=True
        )


@pytest.mark.parametrize("text", ["model_config_list { config { nme: 'x' } }", "model_config_list {", "{}"])
def test_parse_models_config_text_that_the_server_refuses_is_an_error(text: str) -> None:
    with pytest.raises(ParseError):
        parse_models_config(text)


@pytest.mark.parametrize("text", ["prometheus_config { enabled: true }", "prometheus_config { path: 1 }"])
def test_monitoring_config_text_that_the_server_refuses_is_an_error(text: str) -> None:
    with pytest.raises(ParseError):
        MonitoringConfig.parse(text)
