"""Whether the containers' flags, ports, files and probes say the same thing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from kubernetes.utils import parse_quantity

from serving.manifests import SERVER, TRACK, VERSION, Object
from tests.manifests.monitoring import MonitoringConfig

# The flags that the manifests may use: `tensorflow_model_server --help`.
FLAGS = {
    "port", "rest_api_port", "model_config_file", "monitoring_config_file", "file_system_poll_wait_seconds",
    "max_num_load_retries", "load_retry_interval_micros", "enable_profiler", "grpc_channel_arguments",
    "enable_batching", "batching_parameters_file", "enable_grpc_healthcheck_service", "rest_api_num_threads",
    "rest_api_timeout_in_ms", "tensorflow_intra_op_parallelism", "tensorflow_inter_op_parallelism",
    "per_process_gpu_memory_fraction",
}  # fmt: skip
LOGGER_FLAGS = {
    "rest-port", "grpc-port", "upstream-rest", "upstream-grpc", "sink", "sample", "fields", "metrics-port"
}  # fmt: skip
PROBED = re.compile(r"/v1/models/([^/]+)/versions/(\d+)/metadata")


def server_problems(objects: list[Object]) -> Iterator[str]:
    """What would keep a pod from serving the version that its labels name."""
    config_maps = {each["metadata"]["name"]: each["data"] for each in objects if each["kind"] == "ConfigMap"}
    for each in objects:
        if each["kind"] == "Deployment" and TRACK in each["metadata"]["labels"]:
            for problem in [*_lifecycle_problems(each), *_config_problems(each, config_maps)]:
                yield f"{each['metadata']['name']}: {problem}"


def flags_of(container: Object, config_maps: dict[str, Object]) -> dict[str, str]:
    """Flags by name, as the process sees them: `$(NAME)` stands for a variable of the container.

    Raises:
        KeyError: there is no such variable.
    """
    variables = {variable["name"]: variable["value"] for variable in container.get("env", [])}
    for source in container.get("envFrom", []):
        variables |= config_maps[source["configMapRef"]["name"]] if "configMapRef" in source else {}
    given = (argument.removeprefix("--").split("=", 1) for argument in container["args"])
    return {name: re.sub(r"\$\((\w+)\)", lambda found: variables[found[1]], value) for name, value in given}


def _config_problems(deployment: Object, config_maps: dict[str, Object]) -> Iterator[str]:
    template = deployment["spec"]["template"]
    containers = {container["name"]: container for container in template["spec"]["containers"]}
    server = containers[SERVER]
    flags = flags_of(server, config_maps)
    yield from (f"unknown flag {name}" for name in set(flags) - FLAGS)
    yield from _port_problems(containers, flags, config_maps)
    monitoring = MonitoringConfig.parse(_file(template["spec"], server, flags["monitoring_config_file"], config_maps))
    if not monitoring.enabled or template["metadata"]["annotations"]["prometheus.io/path"] != monitoring.path:
        yield f"Prometheus is sent elsewhere than to {monitoring}"
    text = _file(template["spec"], server, flags["model_config_file"], config_maps)
    model, versions, base_path = parse_models_config(text)
    if versions != [int(template["metadata"]["labels"][VERSION])]:
        yield f"pins {versions}, is labelled {template['metadata']['labels'][VERSION]}"
    mounts = [mount["mountPath"] for mount in server["volumeMounts"] if mount["name"] == "models"]
    if not base_path.startswith("gs://") and not any(PurePosixPath(base_path).is_relative_to(at) for at in mounts):
        yield f"{base_path} is on no volume"
    for fetcher in template["spec"].get("initContainers", []):
        yield from _fetcher_problems(fetcher, [model, *map(str, versions)], base_path, server)
    for name, container in containers.items():
        for probe in ("startupProbe", "readinessProbe"):
            found = PROBED.fullmatch(container.get(probe, {}).get("httpGet", {}).get("path", ""))
            if (name == SERVER or probe == "readinessProbe") and (
                found is None or [found[1], int(found[2])] != [model, *versions]
            ):
                yield f"{probe} of {name} does not ask for version {versions} of {model}"


def _fetcher_problems(fetcher: Object, wanted: list[str], base_path: str, server: Object) -> Iterator[str]:
    """The version is fetched to where the server looks for it, with no more of a node and its rights than that has."""
    if [*fetcher["args"][:3]] != [*wanted, f"--to={base_path}"]:
        yield f"fetches {fetcher['args']}, serves {wanted} from {base_path}"
    mounts = {mount["mountPath"]: mount for mount in fetcher["volumeMounts"]}
    if mounts["/models"].get("readOnly") or mounts["/models"]["name"] != "models" or "/tmp" not in mounts:
        yield f"{fetcher['name']} cannot write where it has to: {mounts}"
    if not fetcher["securityContext"]["readOnlyRootFilesystem"]:
        yield f"{fetcher['name']}: wants a read-only root"
    if fetcher["terminationMessagePolicy"] != "FallbackToLogsOnError":
        yield f"{fetcher['name']}: its error does not come into the pod's status"
    for kind, given in fetcher["resources"].items():
        if any(parse_quantity(size) > parse_quantity(server["resources"][kind][what]) for what, size in given.items()):
            yield f"{fetcher['name']}: its {kind} are more than the server's, so that the pod needs more"
    if not {"cpu", "memory"} <= set(fetcher["resources"]["requests"]) or "memory" not in fetcher["resources"]["limits"]:
        yield f"{fetcher['name']}: resources {fetcher['resources']}"


def _port_problems(
    containers: dict[str, Object], flags: dict[str, str], config_maps: dict[str, Object]
) -> Iterator[str]:
    """The ports that the processes listen on are those that their containers declare."""
    declared = {
        (name, port["name"]): str(port["containerPort"])
        for name, container in containers.items()
        for port in container["ports"]
    }
    logger = containers.get("request-logger")
    suffix = "-upstream" if logger else ""
    wanted = {(SERVER, f"grpc{suffix}"): flags["port"], (SERVER, f"rest{suffix}"): flags["rest_api_port"]}
    if logger:
        given = flags_of(logger, config_maps)
        if set(given) != LOGGER_FLAGS:
            yield f"the logger's flags are {sorted(given)}"
        wanted |= {("request-logger", kind): given[f"{kind}-port"] for kind in ("grpc", "rest", "metrics")}
        upstream = (given["upstream-grpc"], given["upstream-rest"])
        if upstream != (f"127.0.0.1:{flags['port']}", f"127.0.0.1:{flags['rest_api_port']}"):
            yield f"the logger forwards to {upstream}"
        if (wanted["request-logger", "grpc"], wanted["request-logger", "rest"]) != ("8500", "8501"):
            yield "the logger does not listen where clients ask"
    if declared != wanted:
        yield f"declares {declared}, listens on {wanted}"


def _file(pod: Object, container: Object, path: str, config_maps: dict[str, Object]) -> str:
    """The content of a file that a ConfigMap's volume puts into a container."""
    folder, name = str(PurePosixPath(path).parent), PurePosixPath(path).name
    volume = next(mount["name"] for mount in container["volumeMounts"] if mount["mountPath"] == folder)
    source = next(each["configMap"]["name"] for each in pod["volumes"] if each["name"] == volume)
    content: str = config_maps[source][name]
    return content


def parse_models_config(text: str) -> tuple[str, list[int], str]:
    """Name, pinned versions and base path of the one model in a ModelServerConfig.

    Raises:
        google.protobuf.text_format.ParseError: TensorFlow Serving would not start with it.
    """
    from google.protobuf import text_format
    from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

    (config,) = text_format.Parse(text, ModelServerConfig()).model_config_list.config
    if config.model_platform != "tensorflow":
        raise AssertionError(f"the model platform is {config.model_platform!r}")
    return config.name, list(config.model_version_policy.specific.versions), config.base_path


def _lifecycle_problems(deployment: Object) -> Iterator[str]:
    spec: dict[str, Any] = deployment["spec"]
    pod = spec["template"]["spec"]
    if spec["strategy"]["rollingUpdate"]["maxUnavailable"] != 0:
        yield "a rollout may take a pod away before its successor is ready"
    if (spec.get("replicas") is None) != (deployment["metadata"]["labels"][TRACK] == "stable"):
        yield "replicas are the autoscaler's for stable, and the rollout's for the canary"
    if pod["automountServiceAccountToken"]:
        yield "mounts a token that it does not need"
    for container in pod["containers"]:
        name, security = container["name"], container["securityContext"]
        if not security["readOnlyRootFilesystem"] or "/tmp" not in {m["mountPath"] for m in container["volumeMounts"]}:
            yield f"{name}: wants a read-only root and a /tmp"
        # A probe that asks for the model kills a pod whose model loads slowly.
        if "tcpSocket" not in container["livenessProbe"]:
            yield f"{name}: the liveness probe asks for more than a connection"
        command, seconds = container["lifecycle"]["preStop"]["exec"]["command"]
        if command != "sleep" or not 10 <= int(seconds) <= pod["terminationGracePeriodSeconds"] - 20:
            yield f"{name}: preStop {command} {seconds}"
        if (
            not {"cpu", "memory"} <= set(container["resources"]["requests"])
            or "memory" not in container["resources"]["limits"]
        ):
            yield f"{name}: resources {container['resources']}"
    startup = next(each["startupProbe"] for each in pod["containers"] if each["name"] == SERVER)
    if not 300 <= startup["periodSeconds"] * startup["failureThreshold"] < spec["progressDeadlineSeconds"]:
        yield "the startup probe is shorter than a load, or longer than the rollout's deadline"
