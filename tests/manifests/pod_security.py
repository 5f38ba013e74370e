"""Pod Security Standards, profile "restricted", field by field.

Source: https://kubernetes.io/docs/concepts/security/pod-security-standards/, the tables of baseline and restricted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Fields = dict[str, Any]

VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"
}  # fmt: skip
SYSCTLS = {
    "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range", "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem",
}  # fmt: skip
SELINUX_TYPES = {None, "", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}


def restricted_problems(pod: Fields) -> Iterator[str]:
    """Fields of a pod's spec that an API server refuses under `pod-security.kubernetes.io/enforce: restricted`."""
    security = pod.get("securityContext", {})
    yield from (f"{field} is set" for field in ("hostNetwork", "hostPID", "hostIPC") if pod.get(field))
    for volume in pod.get("volumes", []):
        if not set(volume) - {"name"} <= VOLUMES:
            yield f"volume {volume['name']} is of a kind that is not allowed"
    for sysctl in security.get("sysctls", []):
        if sysctl["name"] not in SYSCTLS:
            yield f"sysctl {sysctl['name']}"
    yield from _shared_problems("pod", security)
    for container in [
        *pod.get("initContainers", []), *pod.get("containers", []), *pod.get("ephemeralContainers", [])
    ]:  # fmt: skip
        yield from (f"{container['name']}: {problem}" for problem in _container_problems(container, security))


def _shared_problems(who: str, security: Fields) -> Iterator[str]:
    """Fields that pods and containers both have."""
    if security.get("runAsUser") == 0:
        yield f"{who}: runAsUser 0"
    if security.get("windowsOptions", {}).get("hostProcess"):
        yield f"{who}: hostProcess"
    options = security.get("seLinuxOptions", {})
    if options.get("type") not in SELINUX_TYPES or options.get("user") or options.get("role"):
        yield f"{who}: seLinuxOptions {options}"
    if security.get("appArmorProfile", {}).get("type", "RuntimeDefault") not in {"RuntimeDefault", "Localhost"}:
        yield f"{who}: appArmorProfile"


def _container_problems(container: Fields, of_pod: Fields) -> Iterator[str]:
    security = container.get("securityContext", {})
    yield from _shared_problems("container", security)
    if security.get("privileged"):
        yield "privileged"
    if security.get("procMount", "Default") != "Default":
        yield "procMount"
    if security.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation is not false"
    capabilities = security.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", []) or set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
        yield f"capabilities {capabilities}"
    if security.get("runAsNonRoot", of_pod.get("runAsNonRoot")) is not True:
        yield "runAsNonRoot is not true"
    seccomp = security.get("seccompProfile", of_pod.get("seccompProfile", {})).get("type")
    if seccomp not in {"RuntimeDefault", "Localhost"}:
        yield f"seccompProfile {seccomp}"
    if any(port.get("hostPort") for port in container.get("ports", [])):
        yield "hostPort"
    for where in ("livenessProbe", "readinessProbe", "startupProbe", "lifecycle"):
        if any("host" in asks for asks in _network_handlers(container.get(where, {}))):
            yield f"{where} names a host"


def _network_handlers(holder: Fields) -> Iterator[Fields]:
    """What a probe, or the hooks of a lifecycle, ask over the network."""
    for handler in (holder, holder.get("preStop", {}), holder.get("postStart", {})):
        yield from (handler[how] for how in ("httpGet", "tcpSocket") if how in handler)
