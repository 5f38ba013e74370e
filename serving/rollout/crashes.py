"""Containers that end again and again: how often, of what, and whether the model is at fault."""

from __future__ import annotations

from typing import NamedTuple

from serving.manifests import INSTANCE, SERVER, VERSION, Object
from serving.rollout.blame import UNCLEAR, Cause, cause_of_end
from serving.rollout.cluster import Cluster
from serving.rollout.pods import Failure, containers, labelled_pods, ready, servers

# The kubelet restarts a container once before it backs off.
_BACKS_OFF = "CrashLoopBackOff"
# Ends that blame the model although none says why.
CRASHES = 3


class _End(NamedTuple):
    how: str
    is_crash: bool
    cause: Cause
    log: str


class Ends:
    """Ends of containers since a moment. A status has only the last one, so each is noted when it is seen."""

    def __init__(self, pods: list[Object]) -> None:
        self._before = {_key(pod, one): _count(one) for pod in pods for one in containers(pod)}
        self._seen: dict[tuple[str, str], dict[int, _End]] = {}

    def of_server(self, pod: Object) -> int:
        """How often a pod's model server ended; it may have started again."""
        return sum(self._since(pod, one) for one in servers(pod))

    def repeated_crash(self, cluster: Cluster, pods: list[Object], *, had_served: bool = False) -> Failure | None:
        """The failure of a container that ended again and again; None if there is none, or more ends will tell.

        `had_served` says that the pods were ready before; then only the model server counts, and flags, image and
        storage are not the cause.
        """
        for pod, container in [(each, container) for each in pods for container in containers(each)]:
            count, is_server = self._since(pod, container), container["name"] == SERVER
            if not count or (had_served and not is_server) or _is_completed(container):
                continue
            ends = self._note(cluster, pod, container)
            waits = container.get("state", {}).get("waiting", {}).get("reason") == _BACKS_OFF
            if not ends or not (waits or (had_served and count > 1)):
                continue
            last, cause = ends[-1], _cause(ends)
            if cause is UNCLEAR and last.is_crash and is_server:
                if had_served:
                    cause = Cause("it ends while it serves this version", blames_model=True)
                elif count < CRASHES:
                    continue
                else:
                    cause = _compared(cluster, pod, pods)
            state = f"{_BACKS_OFF} after {container['restartCount']} restarts" if waits else f"ended {count} times"
            what = f"container {container['name']} of pod {pod['metadata']['name']}: {state}, {last.how}"
            reason = f"{what}{cause.why and f': {cause.why}'}; its last lines:\n{last.log}"
            return Failure(reason, cause.blames_model and is_server)
        return None

    def _since(self, pod: Object, container: Object) -> int:
        return _count(container) - self._before.get(_key(pod, container), 0)

    def _note(self, cluster: Cluster, pod: Object, container: Object) -> list[_End]:
        """The ends of a container that were seen, with the last."""
        seen, count = self._seen.setdefault(_key(pod, container), {}), _count(container)
        now, before = (container.get(key, {}).get("terminated") for key in ("state", "lastState"))
        if count not in seen and (its := now or before):
            name = pod["metadata"]["name"]  # a fetching container's error is in its status, whatever its node is at
            log = its.get("message", "").strip() or cluster.log(name, container["name"], previous=not now)
            seen[count] = _End(how_ended(its), bool(its.get("exitCode")), cause_of_end(its, log), log)
        return list(seen.values())


def how_ended(terminated: Object) -> str:
    """An end in words."""
    return f"exit code {terminated.get('exitCode')} {terminated.get('reason', '')}".strip()


def last_end(pod: Object) -> str:
    """How a pod's model server ended last."""
    ends = [one.get(key, {}).get("terminated") for one in servers(pod) for key in ("state", "lastState")]
    return next((how_ended(one) for one in ends if one), "its status does not say how")


def _key(pod: Object, container: Object) -> tuple[str, str]:
    return pod["metadata"]["name"], container["name"]


def _count(container: Object) -> int:
    """How often a container has ended: one that does not run again yet ended once more than it was restarted."""
    state = container.get("state", {})
    is_over = "terminated" in state or ("waiting" in state and "terminated" in container.get("lastState", {}))
    return int(container.get("restartCount", 0)) + is_over


def _is_completed(container: Object) -> bool:
    """Whether it is an init container that has done its work."""
    return bool(container.get("state", {}).get("terminated", {}).get("exitCode") == 0)


def _cause(ends: list[_End]) -> Cause:
    """The last end's cause; where that is unclear, one outside of the model that an earlier end had."""
    *earlier, last = [end.cause for end in ends]
    outside = [cause for cause in earlier if cause is not UNCLEAR and not cause.blames_model]
    return outside[-1] if last is UNCLEAR and outside else last


def _compared(cluster: Cluster, pod: Object, pods: list[Object]) -> Cause:
    """The cause of crashes that none of them tells, from what becomes of the model's other pods."""
    labels, names = pod["metadata"]["labels"], {each["metadata"]["name"] for each in pods}
    found = labelled_pods(cluster, {INSTANCE: labels[INSTANCE]})
    others = [each for each in found if each["metadata"]["name"] not in names and _image(each)]
    crashes = f"it crashed {CRASHES} times while it loaded this version"
    if not others:
        return Cause(f"{crashes}, and none of these ends says why", blames_model=True)
    alike = [each for each in others if _image(each) == _image(pod)]
    if not alike:
        return Cause(f"{crashes}, with another image than the pods that serve", blames_model=False)
    well = ready(alike)
    if not well:
        return Cause(f"{crashes}, and other pods with its image are not ready either", blames_model=False)
    same = [each for each in well if each["metadata"]["labels"].get(VERSION) == labels[VERSION]]
    if same:
        return Cause(f"{crashes}, but pod {same[0]['metadata']['name']} serves it", blames_model=False)
    return Cause(f"{crashes}, and pod {well[0]['metadata']['name']} serves another with its image", blames_model=True)


def _image(pod: Object) -> str:
    """The model server's; empty for a pod that has none, as a job of the same name."""
    return next((str(one["image"]) for one in pod["spec"]["containers"] if one["name"] == SERVER), "")
