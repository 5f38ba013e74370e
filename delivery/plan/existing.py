"""What is there already: asked of the registry, the module store and the records of deployments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from delivery.deployments import Deployment, read_latest
from delivery.plan.fingerprints import Fingerprints
from slipway.errors import DeliveryError, SlipwayError
from slipway.stores import storage
from slipway.stores.module_store import is_published

_T = TypeVar("_T")


class Registry(Protocol):
    """Where images are."""

    def digest(self, tag: str) -> str | None:
        """`repository@sha256:…` of a tag; None where there is no such image."""


@dataclass(frozen=True)
class Existing:
    """What is there already; None is what nobody knows, and the plan then goes by what changed since the base.

    Attributes:
        image: Whether there is an image of this tag, and `image_digest` what it is.
        modules: Whether each module is published.
        deployed: What the environment has, by unit.
        notes: Why something is not known.
    """

    image: bool | None = None
    image_digest: str = ""
    modules: Mapping[str, bool] | None = None
    deployed: Mapping[str, Deployment] | None = None
    notes: list[str] = field(default_factory=list)


def look_up(prints: Fingerprints, registry: Registry | None, home: str, environment: str | None) -> Existing:
    """Asks everything that can be asked.

    Args:
        prints: Of the commit that is planned.
        registry: None if the settings name none.
        home: What runs on a cluster share; empty if the settings name none.
        environment: Of the settings.

    Raises:
        SlipwayError: what was asked refused, or did not answer; the message names `--offline`.
    """
    notes = []
    if registry is None:
        notes.append("the settings name no delivery.image_repository, so nobody knows which images there are")
    if not home:
        notes.append("the settings name no remote_home, so nobody knows what was synced or submitted")
    digest = _asked(lambda: registry.digest(prints.image_tag)) if registry else None
    return Existing(
        image=bool(digest) if registry else None,
        image_digest=digest or "",
        modules=_asked(lambda: _published(prints, home)) if home else None,
        deployed=_asked(lambda: read_latest(home, environment)) if home else None,
        notes=notes,
    )


def _published(prints: Fingerprints, home: str) -> dict[str, bool]:
    root = storage.join(home, "modules")
    return {name: is_published(name, files, root) for name, files in prints.module_files.items()}


def _asked(look: Callable[[], _T]) -> _T:
    try:
        return look()
    except SlipwayError as error:
        raise DeliveryError(f"{error}\nWithout a network, `slipway plan --offline` goes by what changed") from error
