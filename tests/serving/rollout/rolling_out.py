"""A process that rolls a version out; `test_death.py` kills it, or runs two of them."""

import json
import sys
import time

from serving.rollout.cluster import Cluster
from serving.rollout.engine import Rollout
from serving.rollout.policy import RolloutPolicy
from slipway.stores.model_store import open_store


def main() -> None:
    asked = json.loads(sys.argv[1])
    with Cluster(asked["namespace"], timeout=(10, 10), pause=lambda _: None) as cluster:
        rollout = Rollout(
            cluster,
            open_store(asked["store"]),
            lambda: asked["objects"],
            "taxi",
            RolloutPolicy(**asked["policy"]),
            say=lambda line: print(line, flush=True),
            pause=lambda seconds: time.sleep(min(seconds, 0.02)),
            lease_seconds=5,
        )
        rollout.start(asked["version"])


if __name__ == "__main__":
    main()
