"""The interface of a model store, and the logic that all kinds of storage share."""

from __future__ import annotations

import math
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from slipway.errors import ChangedMeanwhileError, StoreError
from slipway.lineage import user
from slipway.remote.address import shown
from slipway.remote.interface import StoredObject
from slipway.stores import storage
from slipway.stores.artifacts import MODEL, parse_json
from slipway.stores.model_store import state as states
from slipway.stores.model_store.manifest import (
    Manifest,
    ModelFile,
    Provenance,
    Pushed,
    Version,
    combine,
    compare,
    hash_files,
)
from slipway.stores.model_store.state import Action, Event, Seen, Stage, State

MANIFESTS, BASELINES, CLAIMS, STATE = ".manifests", ".baselines", ".claims", ".state.json"
RESTORE = "restore it from a backup"
READERS = 8

_NAME = re.compile(r"\w[\w.-]*", re.ASCII)
Change = Callable[[State], State]
Apply = Callable[[State, Event], State]


@dataclass(frozen=True)
class Listing:
    """What a store held of a model at one moment."""

    complete: list[int]  # versions, ascending; a deleted one may be among them until `_clean`
    objects: Mapping[str, StoredObject] = field(default_factory=dict)  # of a bucket, by name


class ModelStore(ABC):
    """Versions of models with stages, a pin and a history. Subclasses store files, and replace the state atomically.

    Version numbers grow and are never reused; a version is complete before it becomes visible. It is pushed as
    a candidate, may become the canary, then stable, and ends as retired or quarantined; the rules are in `state.py`.
    The pin names the stable version: promotions and rollbacks move it without touching the files of a version.

    Methods that change a stage take `why`, `who` (the authenticated account, that of the store by default) and `says`
    (the name that it gives itself) for the history, and return the history's line; some take what a person saw when he
    decided (`seen`), and raise `ChangedMeanwhileError` if that is not so any more. Where the version is already in that
    stage, that is the old line, and nothing changes: each of these calls may be repeated, except a rollback.

    Every method raises `StoreError` where the store cannot be reached, read or written, or the version does not exist;
    and `ModelQuarantinedError` for a quarantined version that would be served. `clock` gives seconds since 1970.
    """

    def __init__(self, uri: str, clock: Callable[[], float] = time.time) -> None:
        self.uri = uri
        self._clock = clock

    def versions(self, model: str) -> list[Version]:
        """Versions of a model that can be served, oldest first; folders that no push made are ignored."""
        return self.look(model)[1]

    def look(self, model: str, known: Mapping[int, Version] = MappingProxyType({})) -> tuple[State, list[Version]]:
        """State and versions of a model, of one moment; manifests never change, and those of `known` are not read."""
        state, listing = self._look(model)
        numbers = _servable(state, listing)
        with ThreadPoolExecutor(READERS) as threads:
            read = dict(threads.map(lambda number: (number, self._read(model, number)), set(numbers) - known.keys()))
        return state, [known.get(number) or read[number] for number in numbers]

    def version(self, model: str, number: int) -> Version:
        """One version that can be served."""
        return self._one(self._load(model), number)[1]

    def _one(self, state: State, number: int) -> tuple[State, Version]:
        """A version that can be served, and the state with it, without a listing, which grows with the store."""
        model = state.model
        if number not in state.deleted and self._has_files(model, number):
            return self._adopt(state, [number]), self._read(model, number)
        state, listing = self._look(model)
        known = _servable(state, listing)
        there = f"its versions are {', '.join(map(str, known[-5:]))}" if known else "it has no versions"
        was = f"{number} was deleted; " if number in state.deleted else ""
        raise StoreError(f"model {model} has no version {number} in {shown(self.uri)}; {was}{there}")

    def production(self, model: str) -> Version | None:
        """The version that counts as production: the pin, or without one the newest that is not quarantined."""
        state = self._load(model)
        number = state.pin
        if number is None:
            state, listing = self._look(model)
            number = states.production(state, _servable(state, listing))
        return None if number is None else self._one(state, number)[1]

    def stage(self, model: str, number: int) -> Stage:
        """The stage of one version."""
        return self._one(self._load(model), number)[0].stages[number]

    def stages(self, model: str) -> dict[int, Stage]:
        """Stages of all versions that can be served, oldest first."""
        state, listing = self._look(model)
        return {number: state.stages[number] for number in _servable(state, listing)}

    def history(self, model: str) -> list[Event]:
        """Everything that was done to a model's versions, oldest first; deleted ones stay in it."""
        return list(self._look(model)[0].history)

    def baseline(self, version: Version) -> str:
        """The text of `baseline.json`, which was pushed with a version; StoreError for a version without one."""
        content = self._get(f"{version.model}/{BASELINES}/{version.number}.json")
        if content is None:
            raise StoreError(
                f"version {version.number} of {version.model} has no baseline, with which its requests could be "
                "compared: it was pushed by a release that wrote none. Train and push it again"
            )
        return content.decode()

    def push(self, model_path: str | Path, provenance: Provenance, baseline: str = "") -> Pushed:
        """Stores a SavedModel as the next version, a candidate, unless the newest version holds the same bytes, intact.

        `baseline` is kept beside the version, and no part of its digest.

        After an error nothing of it is visible; or all of it, where a remote store stopped answering at the very end:
        then the same push again finds it.
        """
        source, model = Path(model_path), provenance.model
        if not (source / MODEL).is_file():
            raise StoreError(f"{source} is not a SavedModel: it has no {MODEL}")
        files = hash_files(source)
        state, listing = self._look(model)
        numbers = _servable(state, listing)
        states.check_digest(state, combine(files))
        try:
            self._clean(model, state.deleted, listing)
            newest = self._read(model, numbers[-1]) if numbers else None
            if newest and newest.manifest.model_digest == combine(files) and not self.verify(newest):
                return Pushed(newest, is_new=False)
            version = self._version(self._store(source, files, provenance, baseline, state.deleted, listing))
        except OSError as error:
            raise StoreError(
                f"model {model} ({sum(file.size for file in files):,} bytes) cannot be stored in {shown(self.uri)}: "
                f"{error}. Nothing of it is visible; make room or correct the directory, and run again"
            ) from error
        try:
            self._update(model, [*listing.complete, version.number], lambda state: state)
        except (StoreError, OSError) as error:
            # The version is complete and visible; the next read or change of the state adds it to the history.
            print(f"warning: version {version.number} of {model} is not yet in the history: {error}")
        return Pushed(version, is_new=True)

    def verify(self, version: Version) -> list[str]:
        """Hashes a version's files again; returns what differs from its manifest, one problem a line."""
        return compare(version.manifest.files, self._hash(version), version.uri)

    def mark_canary(self, model: str, number: int, *, why: str = "", who: str = "", says: str = "") -> Event:
        """Marks a version as the one that gets a part of the traffic; a canary before it is a candidate again."""
        return self._act("canary", self.version(model, number), why or "gets a part of the traffic", who, says)

    def promote(
        self, model: str, number: int, *, why: str = "", who: str = "", says: str = "", seen: Seen | None = None
    ) -> Event:
        """Moves the pin to a version, after its files are hashed again; the one that was stable is retired."""
        return self._act("promote", self._intact(model, number), why or "promoted by hand", who, says, seen=seen)

    def rollback(
        self,
        model: str,
        to: int | None = None,
        *,
        leave: int | None = None,
        asked: float = math.inf,
        why: str = "",
        who: str = "",
        says: str = "",
        seen: Seen | None = None,
    ) -> Event:
        """Moves the pin back to what was stable before, or to `to`, and quarantines the version that it leaves.

        It goes back only to a version that was promoted once, and whose files are those that were pushed. A second
        rollback goes further back. If the pin was moved since it was asked for, it is refused, and nothing is changed.

        Args:
            model: Name of the model.
            to: The version to go back to.
            leave: The version that must be stable now; without it, the one that was stable when this was asked for.
            asked: When that was, in seconds since 1970; the moment of the call by default.
            why: The reason, for the history.
            who: The account, for the history.
            says: The name that it gives itself, for the history.
            seen: The pin, and the stage of `to`, that must still be so.

        Returns:
            `version` is in production now, `previous` is quarantined.
        """
        try:
            return self._go_back(model, to, leave, asked, why or "rolled back by hand", who, says, seen)
        except ChangedMeanwhileError:
            raise
        except StoreError as error:
            state, listing = self._look(model)
            raise type(error)(f"{error}. {states.serving(state, _servable(state, listing))}") from error

    def quarantine(
        self, model: str, number: int, *, why: str = "", who: str = "", says: str = "", seen: Seen | None = None
    ) -> Event:
        """Takes a version out for good; StoreError for the stable one, which a rollback quarantines."""
        return self._act("quarantine", self.version(model, number), why or "quarantined by hand", who, says, seen=seen)

    def release(
        self, model: str, number: int, *, why: str = "", who: str = "", says: str = "", seen: Seen | None = None
    ) -> Event:
        """Lifts the quarantine of a version, and of all with the same bytes: they may be pushed and promoted again."""
        return self._act("release", self._read(model, number), why or "released by hand", who, says, seen=seen)

    def retire(self, model: str, number: int, *, why: str = "", who: str = "", says: str = "") -> Event:
        """Takes a candidate or a canary out without a judgement: it may be promoted later."""
        return self._act("retire", self.version(model, number), why or "retired by hand", who, says)

    def prune(self, model: str, keep: int, *, why: str = "", who: str = "", says: str = "") -> list[int]:
        """Deletes the files of old versions; their manifests, history and numbers stay.

        Production, the rollback target, a canary and the newest `keep` others are kept. Returns what was deleted.
        """
        if keep < 0:
            raise StoreError(f"keep={keep}: the number of versions to keep cannot be negative")

        state, listing = self._look(model)
        if not state.stages:
            return []
        deleted: list[int] = []

        def change(state: State) -> State:
            nonlocal deleted
            pushed = {event.version: event for event in state.history if event.action == "push"}
            reason, account = why or f"beyond the newest {keep}", who or self._who()
            its = {"action": "delete", "when": self._clock(), "who": account, "says": says, "why": reason}
            # A version that was pushed since the listing only makes this delete fewer.
            deleted = states.prunable(state, _servable(state, listing), keep)
            return states.delete(state, [pushed[number].model_copy(update=its) for number in deleted])

        state = self._update(model, listing.complete, change)
        self._clean(model, state.deleted, listing)
        return deleted

    def _go_back(
        self,
        model: str,
        to: int | None,
        leave: int | None,
        asked: float,
        why: str,
        who: str,
        says: str,
        seen: Seen | None,
    ) -> Event:
        state, listing = self._look(model)
        numbers = _servable(state, listing)
        move = states.last_move(state.history, asked if leave is None else math.inf)
        states.check_left(state, leave, move)
        target = states.rollback_target(state, numbers) if to is None else to
        if target is None:
            raise StoreError(states.nothing_before(state, numbers))

        def apply(now: State, event: Event) -> State:
            states.check_left(now, leave, move)
            return states.apply(now, event.model_copy(update={"previous": now.pin}))

        return self._act("rollback", self._intact(model, target), why, who, says, apply, seen)

    def _act(
        self,
        action: Action,
        version: Version,
        why: str,
        who: str,
        says: str,
        apply: Apply = states.apply,
        seen: Seen | None = None,
    ) -> Event:
        who = who or self._who()

        def change(state: State) -> State:
            if seen is not None:
                states.check_seen(state, version.number, seen)
            return apply(state, _event(version.manifest, action, self._clock(), who, says, why))

        # A state that does not know the version was lost, and then knows none of the others.
        is_known = version.number in self._load(version.model).stages
        complete = [version.number] if is_known else self._list(version.model).complete
        state = self._update(version.model, complete, change)
        return next(one for one in reversed(state.history) if version.number in (one.version, one.previous))

    def _intact(self, model: str, number: int) -> Version:
        version = self.version(model, number)
        refuse_damaged(version, self.verify(version))
        return version

    def _read(self, model: str, number: int) -> Version:
        name = f"{model}/{MANIFESTS}/{number}.json"
        content = self._get(name)
        if content is None:
            raise StoreError(f"{shown(self.uri)}: {name} is missing, so the origin of version {number} is unknown")
        uri = storage.join(self.uri, name)
        manifest = parse_json(content, Manifest, uri, RESTORE)
        if (manifest.model, manifest.version) != (model, number):
            raise _moved(uri, f"version {manifest.version} of {manifest.model}")
        return self._version(manifest)

    def _version(self, manifest: Manifest) -> Version:
        uri = storage.join(self.uri, manifest.model, str(manifest.version))
        return Version(manifest.model, manifest.version, uri, manifest)

    def _manifest(self, number: int, files: list[ModelFile], provenance: Provenance) -> Manifest:
        return Manifest(
            **provenance.model_dump(),
            version=number,
            created=self._clock(),
            pushed_by=self._who(),
            model_digest=combine(files),
            files=files,
        )

    def _look(self, model: str) -> tuple[State, Listing]:
        """The state with all versions in it, and the listing, which was made after it was read."""
        state, listing = self._load(model), self._list(model)
        return self._adopt(state, listing.complete), listing

    def _load(self, model: str) -> State:
        if not _NAME.fullmatch(model):
            raise StoreError(f"{model!r} is not the name of a model: use letters, digits, _, - and dots within")
        return self._parse_state(model, self._get(f"{model}/{STATE}"))

    def _parse_state(self, model: str, content: bytes | None) -> State:
        if content is None:
            return State(model=model)
        uri = storage.join(self.uri, model, STATE)
        state = parse_json(content, State, uri, RESTORE)
        if state.model != model:
            raise _moved(uri, f"model {state.model}")
        return state

    def _adopt(self, state: State, complete: Iterable[int]) -> State:
        """Adds versions to the state when they are first seen: a push need not write files and state at once."""
        unknown = [number for number in complete if number not in state.stages]
        manifests = [self._read(state.model, number).manifest for number in unknown]
        pushes = [
            _event(one, "push", one.created, one.pushed_by or "unknown", "", "passed its gate") for one in manifests
        ]
        return states.adopt(state, pushes)

    def _update(self, model: str, complete: Iterable[int], change: Change) -> State:
        """Changes the state, to which these versions are added if it does not know them yet."""
        return self._swap(model, lambda state: change(self._adopt(state, complete)))

    def _who(self) -> str:
        """Who acts, for the history."""
        return user()

    @abstractmethod
    def models(self) -> list[str]:
        """Names of the models, sorted."""

    @abstractmethod
    def stamp(self, model: str) -> str:
        """A text that changes with each change of a model's state: whoever remembers a model asks whether to look anew.

        It may miss a push that was killed right before its end.
        """

    @abstractmethod
    def fetch(self, version: Version, folder: Path) -> Path:
        """A version's SavedModel as a directory of this machine; StoreError if its files are not those pushed.

        A remote store puts it into `folder` as `<number>`, by one rename, unless it is there intact. A local store
        returns its own directory.
        """

    @abstractmethod
    def _list(self, model: str) -> Listing:
        """All that there is of a model, which takes longer the more versions there are."""

    @abstractmethod
    def _has_files(self, model: str, number: int) -> bool:
        """Whether the files of a version are there, all of them; its manifest was there before."""

    @abstractmethod
    def _get(self, name: str) -> bytes | None:
        """A record of the store, by its path; None where there is none."""

    @abstractmethod
    def _store(
        self,
        source: Path,
        files: list[ModelFile],
        provenance: Provenance,
        baseline: str,
        deleted: frozenset[int],
        listing: Listing,
    ) -> Manifest:
        """Stores a directory as the next version, and its baseline unless that is empty; an error leaves nothing.

        Of `listing`, and of the deleted versions, others may have changed something since.
        """

    @abstractmethod
    def _hash(self, version: Version) -> list[ModelFile]:
        """Hashes of the stored files."""

    @abstractmethod
    def _clean(self, model: str, deleted: frozenset[int], listing: Listing) -> None:
        """Removes files of deleted versions and of killed pushes; no half-deleted version is visible meanwhile."""

    @abstractmethod
    def _swap(self, model: str, change: Change) -> State:
        """Replaces the stored state by `change` of it, atomically; returns the new state."""


def _servable(state: State, listing: Listing) -> list[int]:
    """Versions that can be served, ascending, without those pushed after the state was read."""
    known = state.stages.keys() - state.deleted
    return [number for number in listing.complete if number in known]


def refuse_damaged(version: Version, problems: list[str]) -> None:
    """Raises a StoreError for the problems that `ModelStore.verify` found, if there are any."""
    if problems:
        raise StoreError(
            f"version {version.number} of {version.model} is not what was pushed: {'; '.join(problems[:5])}. "
            "Nothing was changed; name another version, or push the model again"
        )


def _moved(uri: str, owner: str) -> StoreError:
    """Else whoever names the one would change the other."""
    return StoreError(
        f"{shown(uri)} is that of {owner}: a model's folder was copied or renamed. Move it back, or away and push "
        "the model under its new name"
    )


def _event(manifest: Manifest, action: Action, when: float, who: str, says: str, why: str) -> Event:
    run, digest, number = manifest.lineage.run, manifest.model_digest, manifest.version
    return Event(when=when, action=action, version=number, who=who, says=says, why=why, run=run, model_digest=digest)
