"""What a change of a path makes necessary, by itself: the answer where nothing is known but the change."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from delivery.plan.classes import IN_IMAGE, classify
from delivery.plan.fingerprints import Scope, module_of


@dataclass(frozen=True)
class Effects:
    """What has to be done; of several changes, the union."""

    image: bool = False
    modules: frozenset[str] = frozenset()
    pipelines: frozenset[str] = frozenset()
    overlay: bool = False

    def __or__(self, other: Effects) -> Effects:
        return Effects(
            self.image or other.image,
            self.modules | other.modules,
            self.pipelines | other.pipelines,
            self.overlay or other.overlay,
        )


def effects_of(path: str, scope: Scope, modules: Iterable[str]) -> Effects:
    """The effects of one path that was added, edited or removed.

    Args:
        path: Relative to the project.
        scope: For what one plans.
        modules: Those that there are; a removed one has no effects.
    """
    every = frozenset(modules)
    if classify(path) in IN_IMAGE:
        return Effects(image=True, pipelines=every)
    if scope.has_settings(path):
        return Effects(pipelines=every)
    if scope.has_overlay(path):
        return Effects(overlay=True)
    affected = every & {module_of(path)}
    return Effects(modules=affected, pipelines=affected)
