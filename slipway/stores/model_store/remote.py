"""A model store in a bucket, laid out as TensorFlow Serving polls it.

```
<store>/<model>/<version>/…                the SavedModel; saved_model.pb is written last and deleted first
<store>/<model>/.manifests/<version>.json  where it came from, SHA-256 of its files
<store>/<model>/.baselines/<version>.json  what its training rows looked like, for the monitor
<store>/<model>/.claims/<version>          marks the number as used, even if the push failed
<store>/<model>/.state.json                stages, pin and history; swapped by generation
```

A number is reserved by creating its claim, which succeeds for one push only. A version exists once its saved_model.pb
is there: without that file a model server refuses to load it, rather than loading half of it. The files of a killed
push are deleted by a push at least a day later. A push gives up after half a day; both times are by the clock of the
store, so that no push in progress loses its files.

A listing takes a request for each 1,000 objects, so a push and a prune make one, at the beginning. What others do
meanwhile is met by the conditions of writes, or looked at again in the version's own folder.
"""

import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from slipway.errors import StoreError
from slipway.remote.objects import ABSENT, StoredObject, check_inside, open_objects
from slipway.remote.retries import retrying
from slipway.stores.artifacts import MODEL
from slipway.stores.model_store.fetch import fetch_version
from slipway.stores.model_store.manifest import Manifest, ModelFile, Provenance, Version, hash_files
from slipway.stores.model_store.numbers import next_version, version_of
from slipway.stores.model_store.state import State
from slipway.stores.model_store.store import BASELINES, CLAIMS, MANIFESTS, READERS, STATE, Change, Listing, ModelStore

ABANDONED_SECONDS = 86_400.0
ATTEMPTS = 20

Sums = dict[str, tuple[int, str]]  # size and checksum of files


class _ReplacedError(StoreError):
    """Another process wrote the state between our read and our write."""


class RemoteModelStore(ModelStore):
    """The store at a remote URI; `slipway.remote.address` says how an emulator is named."""

    def __init__(self, uri: str, clock: Callable[[], float] = time.time) -> None:
        super().__init__(uri, clock)
        self._objects = open_objects(uri)

    def models(self) -> list[str]:
        """Names of the models, sorted."""
        names = [name for name in self._objects.names("") if not name.startswith(".")]  # as S3's probe
        with ThreadPoolExecutor(READERS) as threads:
            holds = list(threads.map(lambda name: self._objects.holds(f"{name}/{MANIFESTS}/"), names))
        return [name for name, is_model in zip(names, holds, strict=True) if is_model]

    def stamp(self, model: str) -> str:
        """The generation of the state's object."""
        found = self._objects.find(f"{model}/{STATE}")
        return found.generation if found else ""

    def fetch(self, version: Version, folder: Path) -> Path:
        """Downloads a version, unless it is there intact; one that was interrupted goes on."""
        return fetch_version(version, folder)

    def _list(self, model: str) -> Listing:
        objects = self._objects.objects(f"{model}/", marks=True)
        numbers = {_number(name) for name in objects if name.startswith(f"{model}/{MANIFESTS}/")}
        return Listing(sorted(number for number in numbers if f"{model}/{number}/{MODEL}" in objects), objects)

    def _has_files(self, model: str, number: int) -> bool:
        return self._objects.find(f"{model}/{number}/{MODEL}") is not None

    def _get(self, name: str) -> bytes | None:
        return self._objects.read(name)

    def _hash(self, version: Version) -> list[ModelFile]:
        folder = f"{version.model}/{version.number}/"
        names = [name.removeprefix(folder) for name in self._objects.objects(folder)]
        with tempfile.TemporaryDirectory(prefix="verify-") as target:
            copies = ((folder + name, Path(target, check_inside(name, version.uri))) for name in names)
            self._objects.download(copies)
            return hash_files(Path(target))

    def _store(
        self,
        source: Path,
        files: list[ModelFile],
        provenance: Provenance,
        baseline: str,
        deleted: frozenset[int],
        listing: Listing,
    ) -> Manifest:
        model = provenance.model
        number = self._claim(model, listing)
        self._discard_abandoned(model, number, deleted, listing)
        manifest = self._manifest(number, files, provenance)
        sums = {file.path: (file.size, self._objects.checksum(source / file.path)) for file in files}
        try:
            if baseline:
                self._objects.put(f"{model}/{BASELINES}/{number}.json", baseline.encode())
            self._upload_data(source, manifest, sums)
        except BaseException:
            with suppress(StoreError):
                self._discard(model, number)
            raise
        self._publish(source, manifest, sums)
        return manifest

    def _upload_data(self, source: Path, manifest: Manifest, sums: Sums) -> None:
        """Uploads and checks all files but saved_model.pb; fails before others treat a slow upload as abandoned."""
        model, number = manifest.model, manifest.version
        folder, record = f"{model}/{number}/", f"{model}/{MANIFESTS}/{number}.json"
        data = {name: its for name, its in sums.items() if name != MODEL}
        self._objects.upload((source / name, folder + name) for name in data)
        self._objects.put(record, manifest.model_dump_json(indent=1).encode())
        self._check(folder, self._objects.objects(folder), data)
        if hash_files(source) != manifest.files:  # the sums are of what was there after it was hashed
            raise StoreError(f"what was uploaded differs from {source}: another process writes the model; run again")
        took = self._written(record) - self._written(f"{model}/{CLAIMS}/{number}")
        if took > ABANDONED_SECONDS / 2:
            raise StoreError(f"{self._where(folder)}: the upload took {took:,.0f} s, too long; run again")

    def _publish(self, source: Path, manifest: Manifest, sums: Sums) -> None:
        """Uploads saved_model.pb; a version that is incomplete after that is deleted."""
        folder, failed = f"{manifest.model}/{manifest.version}/", None
        try:
            self._objects.upload([(source / MODEL, folder + MODEL)])
        except StoreError as error:
            failed = error
        # A failed upload may have stored the file nevertheless, and a push suspended here for a day may have lost its
        # data to another one. If the listing fails, nothing is deleted: the version may already be visible.
        stored = self._objects.objects(folder)
        try:
            self._check(folder, stored, sums)
        except StoreError as error:
            with suppress(StoreError):
                self._discard(manifest.model, manifest.version)
            raise failed or error from failed

    def _check(self, folder: str, objects: Mapping[str, StoredObject], sums: Sums) -> None:
        """Refuses a folder whose objects differ from the uploaded files in size or checksum."""
        stored = {name.removeprefix(folder): (found.size, found.checksum) for name, found in objects.items()}
        if stored != sums:
            differ = sorted(name for name in stored.keys() | sums.keys() if stored.get(name) != sums.get(name))
            raise StoreError(
                f"{self._where(folder)} does not hold what was uploaded: {', '.join(differ)}. "
                "Another process writes to the model or the bucket; run again"
            )

    def _written(self, name: str) -> float:
        """When an object of this push was written, by the store's clock."""
        found = self._objects.find(name)
        if found is None:
            raise StoreError(f"{self._where(name)} was deleted while its version was pushed; run again")
        return found.created

    def _claim(self, model: str, listing: Listing) -> int:
        """Reserves the next version number."""
        used = [_number(name) for name in listing.objects]
        first = next_version(used, self._clock(), self._where(model))
        for number in range(first, first + ATTEMPTS):
            if self._objects.put(f"{model}/{CLAIMS}/{number}", self._who().encode(), ABSENT):
                return number
        taken = f"{ATTEMPTS} in a row were taken; run again"
        raise StoreError(f"no number can be claimed in {self._where(model)}: {taken}")

    def _clean(self, model: str, deleted: frozenset[int], listing: Listing) -> None:
        data: dict[int, list[str]] = {}
        for name in listing.objects:
            if (number := version_of(name.split("/")[1])) in deleted:
                data.setdefault(number, []).append(name)
        for number, names in sorted(data.items()):
            self._delete_data(model, number, names)

    def _discard_abandoned(self, model: str, own: int, deleted: frozenset[int], listing: Listing) -> None:
        """Deletes the remains of killed pushers: their claims are old, and no version came of them."""
        claims = f"{model}/{CLAIMS}/"
        remains = {_number(name) for name in listing.objects if not name.startswith(claims)}
        remains -= {*deleted, *(_number(name) for name in listing.objects if name.endswith(f"/{MODEL}"))}
        dead = {number: claim for number in remains if (claim := listing.objects.get(f"{claims}{number}"))}
        if not dead:
            return
        until = self._written(f"{claims}{own}") - ABANDONED_SECONDS
        # A prune writes the state before it deletes: a version that it hid from the listing is in there by now.
        pruned = self._load(model).deleted
        for number, claim in dead.items():
            if claim.created < until and number not in pruned and not self._has_files(model, number):
                # The account may lack the permission to delete; the remains do no harm.
                with suppress(StoreError):
                    self._discard(model, number)

    def _discard(self, model: str, number: int) -> None:
        self._delete_data(model, number, self._objects.objects(f"{model}/{number}/"))
        self._objects.delete([f"{model}/{MANIFESTS}/{number}.json"])

    def _delete_data(self, model: str, number: int, names: Iterable[str]) -> None:
        first = f"{model}/{number}/{MODEL}"
        # Without this file a SavedModel is refused at once; without its variables alone it loads, and fails later.
        self._objects.delete([first])
        self._objects.delete([*(name for name in names if name != first), f"{model}/{BASELINES}/{number}.json"])

    def _swap(self, model: str, change: Change) -> State:
        name = f"{model}/{STATE}"
        written: State | None = None

        def swap() -> State:
            nonlocal written
            content, generation = self._objects.read_generation(name) or (None, ABSENT)
            before = self._parse_state(model, content)
            if written and written.history[-1] in before.history:
                # The response to our write was lost, and its retry met the generation that it had written itself.
                return before
            after = change(before)
            if after != before and not self._objects.put(name, after.model_dump_json(indent=1).encode(), generation):
                written = after
                raise _ReplacedError(f"{self._where(name)}: others changed it {ATTEMPTS} times meanwhile; run again")
            return after

        return retrying(_ReplacedError, attempts=ATTEMPTS, first_seconds=0.02, longest_seconds=0.3)(swap)

    def _where(self, name: str) -> str:
        return self._objects.address.below(name)

    def _who(self) -> str:
        return self._objects.account or super()._who()


def _number(name: str) -> int:
    """The version that an object belongs to, or -1."""
    part = name.split("/")[1]
    if part in (MANIFESTS, CLAIMS):
        part = Path(name).name.removesuffix(".json")
    number = version_of(part)
    return -1 if number is None else number
