"""Checks a canary before its version is promoted: readiness, golden requests, traffic."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from serving.manifests import SERVER, Object
from serving.rollout.cluster import Cluster, PodAnswerError
from serving.rollout.crashes import last_end
from serving.rollout.pods import Failure, pods_of, ready, rest_port, serving_pods
from serving.rollout.policy import RolloutPolicy
from serving.rollout.readiness import Past, past_of
from serving.rollout.traffic import PATH, Judgement, Reading, compare, enough, parse_metrics, total
from slipway.errors import ClusterError, RolloutError
from slipway.evaluation import golden
from slipway.stores import storage
from slipway.stores.model_store import Version

_POLL_SECONDS = 5.0
# TensorFlow Serving gives them for no fault of a model: a mesh or proxy does, or the version is not there.
_NOT_THE_SERVER = {401, 403, 404, 407, 408, 413, 429}
_Pods = Callable[[Cluster, Object], list[Object]]


@dataclass(frozen=True)
class CanaryCheck:
    """Checks the canary of one version; changes nothing. The attributes are those of `Rollout`."""

    cluster: Cluster
    version: Version
    policy: RolloutPolicy
    say: Callable[[str], None]
    pause: Callable[[float], None]

    def golden(self, canary: str) -> Failure | None:
        """Compares each pod's answers to the golden requests with training's."""
        deployment = self._deployment(canary)
        names = [pod["metadata"]["name"] for pod in ready(pods_of(self.cluster, deployment))]
        if not names:
            return Failure(f"Deployment {canary} became ready, but no longer has a ready pod", blames_model=False)
        tolerance, worst, past = self.policy.golden_tolerance, 0.0, past_of(self.cluster, canary)
        wanted = read_requests(self.version)
        for name in names:
            try:
                apart = ask_golden(self.version, wanted, partial(self.cluster.ask, name, rest_port(deployment)))
            except PodAnswerError as error:
                blames_model = error.status not in _NOT_THE_SERVER
                return Failure(f"pod {name} refuses the golden requests: {error}", blames_model)
            except ClusterError:
                if crashed := self._crash(canary, past):
                    return crashed
                raise
            except ValueError as error:
                return Failure(f"pod {name} does not answer the golden requests with JSON: {error}", blames_model=False)
            if not apart <= tolerance:
                reason = (
                    f"pod {name} answers the golden requests differently than training did: by {apart:.3g}, "
                    f"allowed is {tolerance:g}"
                )
                return Failure(reason, blames_model=True)
            worst = max(worst, apart)
        rows = len(wanted.examples)
        self.say(f"golden requests: {rows} rows on {len(names)} pods, at most {worst:.3g} from training")
        return None

    def traffic(self, canary: str, stable: str) -> Judgement | Failure:
        """Compares both Deployments over the policy's window, or longer until there are enough requests.

        Returns:
            The verdict; or the failure of a canary whose server ended meanwhile.
        """
        policy, began = self.policy, time.monotonic()
        pods: dict[str, _Pods] = {canary: pods_of, stable: serving_pods}
        before = {name: self._read(name, of) for name, of in pods.items()}
        past = past_of(self.cluster, canary)
        self.say(
            f"comparing {canary} with {stable} for {policy.window_seconds} s at least, until both have answered "
            f"{policy.min_requests:,} requests"
        )
        while True:
            now = {name: self._read(name, of) for name, of in pods.items()}
            seen = {
                name: total(reading.since(before[name].get(pod)) for pod, reading in readings.items())
                for name, readings in now.items()
            }
            if crashed := self._crash(canary, past):
                return crashed
            elapsed = time.monotonic() - began
            if elapsed >= policy.window_seconds:
                over = elapsed >= policy.traffic_seconds or enough(seen[canary], seen[stable], policy)
                judged = compare(seen[canary], seen[stable], policy)
                if over or judged.verdict == "failed":
                    return judged
            self.pause(_POLL_SECONDS)

    def _read(self, name: str, pods: _Pods) -> dict[str, Reading]:
        """Counters of each ready pod, without pods that disappear meanwhile, as autoscalers and nodes make them do."""
        deployment = self._deployment(name)

        def now() -> list[str]:
            return [pod["metadata"]["name"] for pod in ready(pods(self.cluster, deployment))]

        readings = {}
        for pod in now():
            try:
                page = self.cluster.ask(pod, rest_port(deployment), PATH).decode()
                readings[pod] = parse_metrics(page, self.version.model)
            except (ValueError, OverflowError) as error:
                raise ClusterError(f"pod {pod}: the answer on {PATH} is not valid metrics: {error}") from error
            except ClusterError:
                if pod in now():
                    raise
        return readings

    def _crash(self, canary: str, past: Past) -> Failure | None:
        """The failure of a server that ended since `past`, once it is clear whether it comes back; None without one."""
        deadline = time.monotonic() + self.policy.ready_seconds
        while True:
            pods = pods_of(self.cluster, self._deployment(canary))
            if failure := past.ends.repeated_crash(self.cluster, pods, had_served=True):
                return failure
            ended = [pod for pod in pods if past.ends.of_server(pod)]
            if not ended:
                return None
            came_back = ready(ended) == ended
            if came_back or time.monotonic() > deadline:
                names = ", ".join(pod["metadata"]["name"] for pod in ended)
                reason = f"{SERVER} of pod {names} ended once while it served ({last_end(ended[0])})"
                return Failure(f"{reason} and {'came' if came_back else 'did not come'} back", blames_model=False)
            self.pause(1.0)

    def _deployment(self, name: str) -> Object:
        found = self.cluster.get("Deployment", name)
        if found is None:
            raise ClusterError(f"Deployment {name} was deleted during the rollout; run it again")
        return found


def read_requests(version: Version) -> golden.Golden:
    """A version's golden requests; raises `StoreError` if there are none, `RolloutError` if they are damaged."""
    uri = storage.join(version.uri, golden.FILE)
    try:
        return golden.Golden.model_validate_json(storage.read_bytes(uri))
    except ValueError as error:
        raise RolloutError(f"{uri} holds no golden requests: {error}; train and push the model again") from error


def ask_golden(version: Version, wanted: golden.Golden, ask: Callable[[str, Any], bytes]) -> float:
    """How far a server's answers to the golden requests are from training's; ValueError if an answer is no JSON.

    `ask` sends a path and a body.
    """
    body = {"signature_name": "serving_default", "instances": [{"b64": one} for one in wanted.examples]}
    answer = json.loads(ask(f"/v1/models/{version.model}/versions/{version.number}:predict", body))
    return difference(answer.get("predictions") if isinstance(answer, dict) else None, wanted.predictions)


def difference(found: Any, wanted: Any) -> float:
    """Largest difference, relative to values above 1; infinite for NaN, or where shape or type differ."""
    if isinstance(wanted, list):
        if not isinstance(found, list) or len(found) != len(wanted):
            return math.inf
        return max((difference(one, other) for one, other in zip(found, wanted, strict=True)), default=0.0)
    if isinstance(found, bool) or not isinstance(found, int | float):
        return math.inf
    apart = abs(found - wanted) / max(1.0, abs(wanted))
    return math.inf if math.isnan(apart) else apart
