"""What a canary must show before its version is promoted."""

from __future__ import annotations

import time
from collections.abc import Callable

from serving.rollout.cluster import Cluster, Object
from serving.rollout.golden import check_golden
from serving.rollout.pods import Failure, pods_of, ready_pods, rest_port, wait_ready
from serving.rollout.policy import RolloutPolicy
from serving.rollout.traffic import PATH, Judgement, Reading, compare, enough, parse_metrics, total
from slipway.errors import ClusterError
from slipway.stores.model_store import Version

_POLL_SECONDS = 5.0


class CanaryCheck:
    """Looks at the canary of one version, step by step; changes nothing.

    Args:
        cluster: Where it runs.
        version: What it serves.
        policy: What is allowed.
        say: Told what was found.
        pause: Sleeps.
    """

    def __init__(
        self,
        cluster: Cluster,
        version: Version,
        policy: RolloutPolicy,
        say: Callable[[str], None],
        pause: Callable[[float], None],
    ) -> None:
        self._cluster = cluster
        self._version = version
        self._policy = policy
        self._say = say
        self._pause = pause

    def pods(self, deployment: str) -> Failure | None:
        """Ready, and right in their answers to the golden requests; None then."""
        failure = wait_ready(self._cluster, deployment, self._policy.ready_seconds, self._pause)
        if failure:
            return failure
        self._say(f"{deployment} is ready with version {self._version.number}")
        found = self._deployment(deployment)
        pods = ready_pods(self._cluster, found)
        if not pods:
            return Failure(f"Deployment {deployment} was ready, and then no pod of it was", blames_model=True)
        failure, told = check_golden(
            self._cluster, pods, rest_port(found), self._version, self._policy.golden_tolerance
        )
        if told:
            self._say(told)
        return failure

    def traffic(self, canary: str, stable: str) -> Judgement:
        """Compares both Deployments over the policy's window; waits for enough requests, but not for ever."""
        policy = self._policy
        began = time.monotonic()
        before = {name: self._read(name) for name in (canary, stable)}
        restarts = self._restarts(canary)
        self._say(
            f"comparing {canary} with {stable} for {policy.window_seconds} s at least, until both have answered "
            f"{policy.min_requests:,} requests"
        )
        while True:
            seen = {name: self._since(name, earlier) for name, earlier in before.items()}
            for pod, count in self._restarts(canary).items():
                if crashed := max(count - restarts.get(pod, 0), 0):
                    return Judgement("failed", [f"{pod}: a container started anew {crashed} times under load"])
            elapsed = time.monotonic() - began
            waited = elapsed >= max(policy.window_seconds, policy.traffic_seconds)
            if waited or (elapsed >= policy.window_seconds and enough(seen[canary], seen[stable], policy)):
                return compare(seen[canary], seen[stable], policy)
            self._pause(_POLL_SECONDS)

    def _since(self, deployment: str, before: dict[str, Reading]) -> Reading:
        return total(reading.since(before.get(pod)) for pod, reading in self._read(deployment).items())

    def _read(self, name: str) -> dict[str, Reading]:
        """Counters of each ready pod."""
        deployment = self._deployment(name)
        port = rest_port(deployment)
        pods = [pod["metadata"]["name"] for pod in ready_pods(self._cluster, deployment)]
        readings = {pod: self._metrics(pod, port, deployment) for pod in pods}
        return {pod: reading for pod, reading in readings.items() if reading is not None}

    def _metrics(self, pod: str, port: int, deployment: Object) -> Reading | None:
        """What a pod has counted; None of one that went, as autoscalers and nodes make them go."""
        try:
            return parse_metrics(self._cluster.ask(pod, port, PATH).decode(), self._version.model)
        except (ValueError, OverflowError) as error:
            raise ClusterError(f"pod {pod}: what it answers on {PATH} are no metrics: {error}") from error
        except ClusterError:
            if pod in {one["metadata"]["name"] for one in ready_pods(self._cluster, deployment)}:
                raise
            return None

    def _restarts(self, name: str) -> dict[str, int]:
        """Of each pod's containers; a pod that just crashed is not ready, and counts here."""
        return {
            pod["metadata"]["name"]: sum(
                one.get("restartCount", 0) for one in pod.get("status", {}).get("containerStatuses", [])
            )
            for pod in pods_of(self._cluster, self._deployment(name))
        }

    def _deployment(self, name: str) -> Object:
        found = self._cluster.get("Deployment", name)
        if found is None:
            raise ClusterError(f"Deployment {name} was deleted during the rollout; run it again")
        return found
