"""Rollouts as the command line and a submission ask for them: with an overlay of this checkout."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from delivery.manifests import render_overlay
from serving.manifests import publish_manifests, require_filled_in

if TYPE_CHECKING:
    from serving.rollout import Rollout


@dataclass(frozen=True)
class Serving:
    """Where models are served, and what a canary must show.

    Attributes:
        overlay: Folder of the environment's overlay.
        image: The project's own image by digest, for overlays that log requests.
        cluster: As `serving.rollout.Cluster` takes it.
        policy: `serving.rollout.RolloutPolicy`, as a dictionary.
    """

    overlay: Path
    image: str
    cluster: str
    policy: dict[str, Any]

    def publish(self, root_uri: str) -> str:
        """Stores the rendered overlay below a URI, for the pipeline's rollout_model."""
        return publish_manifests(render_overlay(self.overlay, self.image), root_uri)

    @contextmanager
    def rollout(
        self, model: str, store_uri: str, say: Callable[[str], None], *, force: bool = False
    ) -> Iterator[Rollout]:
        """Rollouts of one model from here, for as long as the block lasts.

        Args:
            model: Its name.
            store_uri: The model store.
            say: Told of each step.
            force: Take fields over that somebody changed by hand.
        """
        from serving.rollout import Cluster, Rollout, RolloutPolicy, namespace_of
        from slipway.stores.model_store import open_store

        objects = render_overlay(self.overlay, self.image)
        require_filled_in(objects)
        with Cluster(namespace_of(objects), self.cluster) as cluster:
            policy = RolloutPolicy(**self.policy)
            yield Rollout(cluster, open_store(store_uri), objects, model, policy, say=say, force=force)
