"""What exists already: asked of the registry, the module store and the records of deployments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from delivery.deployments import BASE, MANIFESTS, READERS, Deployment, module_unit, read_latest
from delivery.plan.fingerprints import Files, Key, Place, layer_tag
from slipway.errors import DeliveryError, SlipwayError
from slipway.stores import storage
from slipway.stores.module_store import is_published

if TYPE_CHECKING:
    from delivery.registry import ImageRegistry


class State(NamedTuple):
    """The deployed key of a subject and its time; or no key, and the reason why it counts as missing."""

    key: Key | None
    words: str
    image: str = ""  # by digest


def look_up(
    wanted: Mapping[str, Key], modules: Mapping[str, Files], place: Place
) -> tuple[dict[str, State], list[str]]:
    """States of the subjects that can be looked up, and notes why others were not.

    Subjects are `image`, `gpu-image`, `image NAME`, `module NAME`, `pipeline NAME` and `overlay FOLDER`.

    Raises:
        DeliveryError: a look-up failed; the message names `--offline`.
    """
    states: dict[str, State] = {}
    notes: list[str] = []
    try:
        if place.registry:
            images = [subject for subject in ("image", "gpu-image") if subject in wanted]
            states |= {subject: _image(wanted[subject], place.registry) for subject in images}
            below = [states[subject].image for subject in images]
            states |= {
                subject: _layers(wanted[subject], below, place.registry)
                for subject in wanted
                if subject.startswith("image ")
            }
        else:
            notes.append("images were not looked up: the settings name no delivery.image_repository")
        if place.home:
            states |= _in_home(wanted, modules, place)
        else:
            notes.append("modules and deployments were not looked up: the settings name no remote_home")
    except SlipwayError as error:
        raise DeliveryError(f"{error}\nWithout a network, `slipway plan --offline` compares with the base") from error
    return states, notes


def _image(key: Key, registry: ImageRegistry) -> State:
    [tag] = key.values()
    if image := registry.digest(tag):
        return State(key, "it was pushed", image)
    return State(None, f"the registry has no image {tag[:12]}…")


def _layers(key: Key, images: list[str], registry: ImageRegistry) -> State:
    """The state of a module's layers on all images."""
    if not all(images):
        return State(None, "the image below it has to be built")
    for tag in (layer_tag(image, key["requirements"]) for image in images):
        if not registry.digest(tag):
            return State(None, f"the registry has no image {tag[:12]}…")
    return State(key, "it was pushed")


def _in_home(wanted: Mapping[str, Key], modules: Mapping[str, Files], place: Place) -> Iterator[tuple[str, State]]:
    deployed, root = read_latest(place.home, place.environment), storage.join(place.home, "modules")
    with ThreadPoolExecutor(READERS) as readers:
        found = readers.map(lambda name: is_published(name, modules[name], root), modules)
        published = dict(zip(modules, found, strict=True))
    for subject, key in wanted.items():
        kind, _, name = subject.partition(" ")
        if kind == "module":
            missing = State(None, f"{key['module'][:12]}… is not published")
            yield subject, State(key, "it was published") if published[name] else missing
        elif kind == "pipeline":
            yield subject, _state(deployed.get(module_unit(name, place.pipeline)), "submitted", place)
        elif kind == "overlay":
            yield subject, _state(deployed.get(MANIFESTS), "applied", place)


def _state(deployment: Deployment | None, done: str, place: Place) -> State:
    where = f"{done} in {place.environment or BASE}"
    if deployment is None:
        return State(None, f"was never {where}")
    since = f"{where} at {deployment.revision[:12]}"
    if deployment.failed:
        return State(None, f"{deployment.run} failed ({since})")
    return State(deployment.key, f"it was {since}")
