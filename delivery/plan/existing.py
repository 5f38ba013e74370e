"""What exists already: asked of the registry, the module store and the records of deployments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from delivery.deployments import BASE, MANIFESTS, Deployment, module_unit, read_latest
from delivery.plan.fingerprints import Files, Key
from delivery.plan.place import Place
from slipway.errors import DeliveryError, SlipwayError
from slipway.stores import storage
from slipway.stores.module_store import is_published


class State(NamedTuple):
    """What exists of a subject: its key, and since when; or no key, and why it counts as missing."""

    key: Key | None
    words: str


@dataclass
class Existing:
    """States by subject: `image`, `module NAME`, `pipeline NAME`, `overlay FOLDER`.

    Attributes:
        states: Of the subjects that could be looked up.
        image_digest: Of the wanted image, if the registry has it.
        notes: Why others were not looked up.
    """

    states: dict[str, State] = field(default_factory=dict)
    image_digest: str = ""
    notes: list[str] = field(default_factory=list)


def look_up(wanted: Mapping[str, Key], modules: Mapping[str, Files], place: Place) -> Existing:
    """Asks everything that can be asked.

    Args:
        wanted: Keys of what is planned, by subject.
        modules: Files of every module.
        place: The environment.

    Raises:
        DeliveryError: a look-up failed; the message names `--offline`.
    """
    existing = Existing()
    try:
        if place.registry:
            tag = wanted["image"]["image"]
            existing.image_digest = place.registry.digest(tag) or ""
            missing = State(None, f"the registry has no image {tag[:12]}…")
            existing.states["image"] = State(wanted["image"], "it was pushed") if existing.image_digest else missing
        else:
            existing.notes.append("images were not looked up: the settings name no delivery.image_repository")
        if place.home:
            existing.states |= _in_home(wanted, modules, place)
        else:
            existing.notes.append("modules and deployments were not looked up: the settings name no remote_home")
    except SlipwayError as error:
        raise DeliveryError(f"{error}\nWithout a network, `slipway plan --offline` compares with the base") from error
    return existing


def _in_home(wanted: Mapping[str, Key], modules: Mapping[str, Files], place: Place) -> Iterator[tuple[str, State]]:
    deployed = read_latest(place.home, place.environment)
    for subject, key in wanted.items():
        kind, _, name = subject.partition(" ")
        if kind == "module":
            there = is_published(name, modules[name], storage.join(place.home, "modules"))
            missing = State(None, f"{key['module'][:12]}… is not published")
            yield subject, State(key, "it was published") if there else missing
        elif kind == "pipeline":
            yield subject, _state(deployed.get(module_unit(name, place.pipeline)), "submitted", place)
        elif kind == "overlay":
            yield subject, _state(deployed.get(MANIFESTS), "applied", place)


def _state(deployment: Deployment | None, done: str, place: Place) -> State:
    where = f"{done} in {place.environment or BASE}"
    if deployment is None:
        return State(None, f"was never {where}")
    since = f"{where} at {deployment.revision[:12]}"
    return (
        State(None, f"{deployment.run} failed ({since})")
        if deployment.failed
        else State(deployment.key, f"it was {since}")
    )
