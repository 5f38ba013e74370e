"""Checks a canary before its version is promoted: readiness, golden requests, traffic."""

from __future__ import annotations

import time
from collections.abc import Callable

from serving.manifests import SERVER
from serving.rollout.cluster import Cluster, Object
from serving.rollout.golden import check_golden
from serving.rollout.pods import Failure, Past, pods_of, ready, rest_port, serving_pods, wait_ready
from serving.rollout.policy import RolloutPolicy
from serving.rollout.traffic import PATH, Judgement, Reading, compare, enough, fails_early, parse_metrics, total
from slipway.errors import ClusterError
from slipway.stores.model_store import Version

_POLL_SECONDS = 5.0
_Pods = Callable[[Cluster, Object], list[Object]]


class CanaryCheck:
    """Checks the canary of one version; changes nothing.

    Args:
        cluster: The namespace.
        version: The version.
        policy: Limits.
        say: Gets a line for each result.
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

    def pods(self, deployment: str, past: Past) -> Failure | None:
        """Waits until the pods are ready, and sends them the golden requests; `past` as in `wait_ready`."""
        failure = wait_ready(self._cluster, deployment, self._policy.ready_seconds, self._pause, past)
        if failure:
            return failure
        self._say(f"{deployment} is ready with version {self._version.number}")
        found = self._deployment(deployment)
        pods = ready(pods_of(self._cluster, found))
        if not pods:
            return Failure(f"Deployment {deployment} was ready, and then no pod of it was", blames_model=False)
        failure, told = check_golden(
            self._cluster, pods, rest_port(found), self._version, self._policy.golden_tolerance
        )
        if told:
            self._say(told)
        return failure

    def traffic(self, canary: str, stable: str) -> Judgement:
        """Compares both Deployments over the policy's window, or longer until there are enough requests."""
        policy = self._policy
        began = time.monotonic()
        pods: dict[str, _Pods] = {canary: pods_of, stable: serving_pods}
        before = {name: self._read(name, of) for name, of in pods.items()}
        restarts = self._restarts(canary)
        self._say(
            f"comparing {canary} with {stable} for {policy.window_seconds} s at least, until both have answered "
            f"{policy.min_requests:,} requests"
        )
        while True:
            now = {name: self._read(name, of) for name, of in pods.items()}
            seen = {
                name: total(reading.since(before[name].get(pod)) for pod, reading in readings.items())
                for name, readings in now.items()
            }
            for pod, count in self._restarts(canary).items():
                if crashed := max(count - restarts.get(pod, 0), 0):
                    return Judgement("failed", [f"{pod}: a container started anew {crashed} times under load"])
            elapsed = time.monotonic() - began
            if elapsed >= policy.window_seconds:
                over = elapsed >= policy.traffic_seconds or enough(seen[canary], seen[stable], policy)
                judged = fails_early(seen[canary], seen[stable], policy)
                if judged or over:
                    return judged or compare(seen[canary], seen[stable], policy)
            self._pause(_POLL_SECONDS)

    def _read(self, name: str, pods: _Pods) -> dict[str, Reading]:
        """Counters of each ready pod, without pods that disappear meanwhile, as autoscalers and nodes make them do."""
        deployment = self._deployment(name)

        def now() -> list[str]:
            return [pod["metadata"]["name"] for pod in ready(pods(self._cluster, deployment))]

        readings = {}
        for pod in now():
            try:
                page = self._cluster.ask(pod, rest_port(deployment), PATH).decode()
                readings[pod] = parse_metrics(page, self._version.model)
            except (ValueError, OverflowError) as error:
                raise ClusterError(f"pod {pod}: what it answers on {PATH} are no metrics: {error}") from error
            except ClusterError:
                if pod in now():
                    raise
        return readings

    def _restarts(self, name: str) -> dict[str, int]:
        """Restarts of each pod's model server, including pods that are not ready, such as crashed ones."""
        return {
            pod["metadata"]["name"]: one.get("restartCount", 0)
            for pod in pods_of(self._cluster, self._deployment(name))
            for one in pod.get("status", {}).get("containerStatuses", [])
            if one["name"] == SERVER
        }

    def _deployment(self, name: str) -> Object:
        found = self._cluster.get("Deployment", name)
        if found is None:
            raise ClusterError(f"Deployment {name} was deleted during the rollout; run it again")
        return found
