"""Compares pods' answers to a version's golden requests with training's."""

from __future__ import annotations

import json
import math
from typing import Any

from serving.rollout.api_errors import PodAnswerError
from serving.rollout.cluster import Cluster, Object
from serving.rollout.pods import Failure
from slipway.errors import RolloutError
from slipway.evaluation import golden
from slipway.stores import storage
from slipway.stores.model_store import Version


def read_requests(version: Version) -> golden.Golden:
    """The golden requests of a version in the store.

    Raises:
        RolloutError: they are damaged.
        StoreError: there are none.
    """
    uri = storage.join(version.uri, golden.FILE)
    try:
        return golden.Golden.model_validate_json(storage.read_bytes(uri))
    except ValueError as error:
        raise RolloutError(f"{uri} holds no golden requests: {error}; train and push the model again") from error


def check_golden(
    cluster: Cluster, pods: list[Object], port: int, version: Version, tolerance: float
) -> tuple[Failure | None, str]:
    """Sends the golden requests to each pod.

    Returns:
        The failure or None, and a line for people.

    Raises:
        ClusterError: a pod cannot be reached.
    """
    wanted = read_requests(version)
    body = {"signature_name": "serving_default", "instances": [{"b64": one} for one in wanted.examples]}
    path = f"/v1/models/{version.model}/versions/{version.number}:predict"
    worst = 0.0
    for pod in pods:
        name = pod["metadata"]["name"]
        try:
            answer = json.loads(cluster.ask(name, port, path, body))
        except PodAnswerError as error:
            return Failure(f"pod {name} refuses the golden requests: {error}", blames_model=True), ""
        except ValueError as error:
            return Failure(f"pod {name} answers the golden requests with no JSON: {error}", blames_model=True), ""
        apart = difference(_predictions(answer), wanted.predictions)
        if not apart <= tolerance:
            reason = (
                f"pod {name} answers the golden requests differently than training did: by {apart:.3g}, "
                f"allowed is {tolerance:g}"
            )
            return Failure(reason, blames_model=True), ""
        worst = max(worst, apart)
    return None, f"golden requests: {len(wanted.examples)} rows on {len(pods)} pods, at most {worst:.3g} from training"


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


def _predictions(answer: Any) -> Any:
    return answer.get("predictions") if isinstance(answer, dict) else None
