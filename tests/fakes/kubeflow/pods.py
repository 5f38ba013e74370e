"""What Kubeflow's driver makes of the second document of a compiled pipeline: variables and files of a step's pod.

kubernetes_platform/proto/kubernetes_executor_config.proto and `extendPodSpecPatch`, backend/src/v2/driver/k8s.go, 2.17.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.fakes.loopback_server import Refused

Secrets = Mapping[str, Mapping[str, str]]  # by name and key

_NAMED = {"secretName", "secretNameParameter", "optional"}
# Fields that are set by nothing of ours are left out.
_FIELDS = {
    "podMetadata": {"labels", "annotations"},
    "secretAsEnv": {*_NAMED, "keyToEnv"},
    "secretAsVolume": {*_NAMED, "mountPath"},
    "nodeSelector": {"labels", "nodeSelectorJson"},
    "tolerations": {"key", "operator", "value", "effect", "tolerationSeconds", "tolerationJson"},
}


def require_executors(documents: list[dict[str, Any]]) -> None:
    """The fields of each executor's config are known, and the executor is one of the pipeline."""
    for document in documents[1:]:
        executors = document["platforms"]["kubernetes"].get("deploymentSpec", {}).get("executors", {})
        for executor, config in executors.items():
            if executor not in documents[0]["deploymentSpec"]["executors"]:
                raise Refused(400, f"Invalid input error: there is no executor {executor}")
            for name, value in config.items():
                for each in value if isinstance(value, list) else [value]:
                    if unknown := set(each) - _FIELDS.get(name, set()):
                        raise Refused(400, f"proto: unknown field {name}.{', '.join(sorted(unknown))}")


def environment(documents: list[dict[str, Any]], executor: str, secrets: Secrets, root: Path) -> dict[str, str]:
    """The variables of a pod; the files of its volumes are written below `root`, and variables name them there.

    Raises:
        AssertionError: Kubernetes would refuse the pod, or it would wait for ever.
    """
    config = documents[1]["platforms"]["kubernetes"].get("deploymentSpec", {}).get("executors", {}).get(executor, {})
    found: dict[str, str] = {}
    for volume in config.get("secretAsVolume", []):
        name = _secret(volume)
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", name), f"{name}: no name of a volume"
        assert name in secrets or volume.get("optional"), f"{name}: the volume is never mounted"
        for key, value in secrets.get(name, {}).items():
            path = root / volume["mountPath"].lstrip("/") / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(value)
    for one in config.get("secretAsEnv", []):
        kept = secrets.get(_secret(one), {})
        for pair in one["keyToEnv"]:
            assert pair["secretKey"] in kept or one.get("optional"), f"{pair['secretKey']}: CreateContainerConfigError"
            if pair["secretKey"] in kept:
                found[pair["envVar"]] = kept[pair["secretKey"]]
    return found


def _secret(config: dict[str, Any]) -> str:
    name: str = config["secretNameParameter"]["runtimeValue"]["constant"]
    return name
