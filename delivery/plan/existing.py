"""What exists already: asked of the registry, the module store and the records of deployments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from delivery.deployments import BASE, MANIFESTS, Deployment, module_unit, read_latest
from delivery.plan.fingerprints import Files, Key
from slipway.errors import DeliveryError, SlipwayError
from slipway.stores import storage
from slipway.stores.module_store import NAME, is_published


class Registry(Protocol):
    """Where images are."""

    def digest(self, tag: str) -> str | None:
        """`repository@sha256:…` of a tag; None where there is no such image."""


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


def look_up(
    wanted: Mapping[str, Key],
    modules: Mapping[str, Files],
    registry: Registry | None,
    home: str,
    environment: str | None,
    pipeline: str,
) -> Existing:
    """Asks everything that can be asked.

    Args:
        wanted: Keys of what is planned, by subject.
        modules: Files of every module.
        registry: None if the settings name none.
        home: What runs on a cluster share; empty if the settings name none.
        environment: Of the settings.
        pipeline: Name of the pipeline that is submitted.

    Raises:
        DeliveryError: a look-up failed; the message names `--offline`.
    """
    existing = Existing()
    try:
        if registry:
            tag = wanted["image"]["image"]
            existing.image_digest = registry.digest(tag) or ""
            missing = State(None, f"the registry has no image {tag[:12]}…")
            existing.states["image"] = State(wanted["image"], "it was pushed") if existing.image_digest else missing
        else:
            existing.notes.append("images were not looked up: the settings name no delivery.image_repository")
        if home:
            existing.states |= _modules(wanted, modules, storage.join(home, "modules"))
            existing.states |= _deployments(wanted, read_latest(home, environment), environment or BASE, pipeline)
        else:
            existing.notes.append("modules and deployments were not looked up: the settings name no remote_home")
    except SlipwayError as error:
        raise DeliveryError(f"{error}\nWithout a network, `slipway plan --offline` compares with the base") from error
    return existing


def _modules(wanted: Mapping[str, Key], modules: Mapping[str, Files], root: str) -> Iterator[tuple[str, State]]:
    for name, files in modules.items():
        key = wanted[f"module {name}"]
        missing = State(None, f"{key['module'][:12]}… is not published")
        yield f"module {name}", State(key, "it was published") if is_published(name, files, root) else missing


def _deployments(
    wanted: Mapping[str, Key], deployed: Mapping[str, Deployment], environment: str, pipeline: str
) -> Iterator[tuple[str, State]]:
    """States of pipelines and overlay; also of pipelines that are wanted no more, as their modules were removed."""
    prefix = module_unit("", pipeline)
    modules = [unit.removeprefix(prefix) for unit in deployed if unit.startswith(prefix)]
    # Another pipeline's name may begin like this one's; a module's has no hyphen.
    recorded = {f"pipeline {module}" for module in modules if NAME.fullmatch(module)}
    for subject in wanted.keys() | recorded:
        kind, _, name = subject.partition(" ")
        if kind == "pipeline":
            yield subject, _state(deployed.get(module_unit(name, pipeline)), f"submitted in {environment}")
        elif kind == "overlay":
            yield subject, _state(deployed.get(MANIFESTS), f"applied in {environment}")


def _state(deployment: Deployment | None, done: str) -> State:
    if deployment is None:
        return State(None, f"was never {done}")
    since = f"{done} at {deployment.revision[:12]}"
    if deployment.failed:
        return State(None, f"{deployment.run} failed ({since})")
    return State(deployment.key, f"it was {since}")
