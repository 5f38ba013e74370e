"""The overlays with which versions ran: published beside the model store by content, and named by rollouts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from serving.manifests import Object, namespace_of, publish_manifests, read_manifests
from slipway.errors import ConfigError, SlipwayError, StoreError
from slipway.stores import storage

_LONGEST_VALUE, _LISTED = 40, 12


class Overlay(NamedTuple):
    """A published overlay."""

    digest: str
    objects: list[Object]


@dataclass(frozen=True)
class Overlays:
    """The overlays of one namespace.

    Attributes:
        store: URI of the model store, beside whose folder `manifests/` is, as that of a pipeline's run.
        render: Makes the overlay of this checkout, or of this run.
        namespace: The namespace that all objects must have.
        say: Gets a line where another overlay than the recorded one has to be used.
    """

    store: str
    render: Callable[[], list[Object]]
    namespace: str
    say: Callable[[str], None]

    @cached_property
    def current(self) -> Overlay:
        """The overlay of this checkout or run, published; a `ConfigError` if it is not filled in."""
        objects = self.render()
        if (its := namespace_of(objects)) != self.namespace:
            raise ConfigError(f"the overlay is for the namespace {its}, and this rollout for {self.namespace}")
        uri = publish_manifests(objects, self._root)
        return Overlay(PurePosixPath(uri.partition("?")[0]).stem, objects)

    def read(self, digest: str) -> Overlay:
        """A published overlay; a `StoreError` if it is not there, or was changed."""
        return Overlay(digest, read_manifests(storage.join(self._root, "manifests", f"{digest}.yaml")))

    def find(self, number: int, digests: Iterable[str]) -> Overlay:
        """The first overlay that is recorded and can be read; else the one of this checkout.

        `digests` begins with that of the version itself, empty if there is none.
        """
        why = f"no overlay is recorded with which version {number} ran here"
        for place, digest in enumerate(digests):
            if not digest:
                continue
            try:
                found = self.read(digest)
            except StoreError as error:
                why = str(error)
                continue
            if place:
                self.say(f"{why}; using the one that serves now ({digest[:12]})")
            return found
        try:
            made = self.current
        except SlipwayError as error:
            raise ConfigError(f"{why}, and the overlay of this checkout cannot be used instead: {error}") from error
        self.say(f"{why}; using the one of this checkout ({made.digest[:12]})")
        return made

    @property
    def _root(self) -> str:
        path, question, query = self.store.partition("?")
        parent = path.rstrip("/").rpartition("/")[0]
        return f"{path if parent in ('', 'gs:/', 's3:/') else parent}{question}{query}"


def differences(old: list[Object], new: list[Object]) -> list[str]:
    """What differs between two overlays: objects, and fields with their values; a short list."""
    before, after = ({(each["kind"], each["metadata"]["name"]): each for each in one} for one in (old, new))
    lines = []
    for kind, name in sorted(before.keys() | after.keys()):
        one, other = before.get((kind, name)), after.get((kind, name))
        if one is None or other is None:
            lines.append(f"{kind} {name}: {'added' if one is None else 'removed'}")
        else:
            lines += [f"{kind} {name}: {field}" for field in _fields(one, other, "")]
    more = len(lines) - _LISTED
    return [*lines[:_LISTED], f"and {more} more"] if more > 0 else lines


def _fields(old: Any, new: Any, path: str) -> Iterator[str]:
    if old == new:
        return
    one, other = _parts(old), _parts(new)
    if one is None or other is None:
        yield f"{path}: {_short(old)} -> {_short(new)}"
        return
    for key in [*one, *(key for key in other if key not in one)]:
        yield from _fields(one.get(key), other.get(key), f"{path}.{key}".lstrip("."))


def _parts(value: Any) -> dict[str, Any] | None:
    """The fields of an object, or the entries of a list by their names where they have one; None of a plain value."""
    if isinstance(value, dict):
        return {str(key): each for key, each in value.items()}
    if isinstance(value, list):
        names = [each.get("name") if isinstance(each, dict) else None for each in value]
        keys = names if all(names) and len(set(names)) == len(names) else range(len(value))
        return {str(key): each for key, each in zip(keys, value, strict=True)}
    return None


def _short(value: Any) -> str:
    text = "none" if value is None else json.dumps(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"
