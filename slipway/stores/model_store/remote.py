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
"""

import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from slipway.errors import StoreError
from slipway.remote.objects import ABSENT, StoredObject, check_inside, open_objects
from slipway.remote.retries import retrying
from slipway.stores.artifacts import MODEL
from slipway.stores.model_store.manifest import Manifest, ModelFile, Provenance, Version, compare, hash_files
from slipway.stores.model_store.numbers import next_version, version_of
from slipway.stores.model_store.state import State
from slipway.stores.model_store.store import BASELINES, CLAIMS, MANIFESTS, STATE, Change, ModelStore, refuse_damaged

ABANDONED_SECONDS = 86_400.0
ATTEMPTS = 20

Listing = dict[str, StoredObject]
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
        return [name for name in self._objects.names("") if self._objects.objects(f"{name}/{MANIFESTS}/")]

    def stamp(self, model: str) -> str:
        """The generation of the state's object."""
        found = self._objects.find(f"{model}/{STATE}")
        return found.generation if found else ""

    def fetch(self, version: Version, folder: Path) -> Path:
        """Downloads a version, unless it is there intact."""
        target = folder / str(version.number)
        if target.is_dir() and not compare(version.manifest.files, hash_files(target), str(target)):
            return target
        folder.mkdir(parents=True, exist_ok=True)
        # Model servers that poll the folder ignore names that are not integers.
        with tempfile.TemporaryDirectory(prefix=".fetching-", dir=folder) as partial:
            found = self._download(version, Path(partial) / "new")
            refuse_damaged(version, compare(version.manifest.files, found, version.uri))
            with suppress(FileNotFoundError):
                target.rename(Path(partial) / "old")
            (Path(partial) / "new").rename(target)
        return target

    def _stored(self, model: str) -> list[int]:
        listing = self._objects.objects(f"{model}/")
        numbers = {_number(name) for name in listing if name.startswith(f"{model}/{MANIFESTS}/")}
        return sorted(number for number in numbers if f"{model}/{number}/{MODEL}" in listing)

    def _get(self, name: str) -> bytes | None:
        return self._objects.read(name)

    def _hash(self, version: Version) -> list[ModelFile]:
        with tempfile.TemporaryDirectory(prefix="verify-") as folder:
            return self._download(version, Path(folder) / "model")

    def _download(self, version: Version, target: Path) -> list[ModelFile]:
        folder = f"{version.model}/{version.number}/"
        names = [name.removeprefix(folder) for name in self._objects.objects(folder)]
        self._objects.download((folder + name, target / check_inside(name, version.uri)) for name in names)
        return hash_files(target)

    def _store(self, source: Path, files: list[ModelFile], provenance: Provenance, baseline: str) -> Manifest:
        model = provenance.model
        number = self._claim(model)
        self._discard_abandoned(model, number, self._state(model).deleted)
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
        listing = self._objects.objects(f"{model}/")
        self._check(folder, listing, data)
        if hash_files(source) != manifest.files:  # the sums are of what was there after it was hashed
            raise StoreError(f"what was uploaded differs from {source}: another process writes the model; run again")
        took = listing[record].created - listing[f"{model}/{CLAIMS}/{number}"].created
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
        listing = self._objects.objects(folder)
        try:
            self._check(folder, listing, sums)
        except StoreError as error:
            with suppress(StoreError):
                self._discard(manifest.model, manifest.version)
            raise failed or error from failed

    def _check(self, folder: str, listing: Listing, sums: Sums) -> None:
        """Refuses a folder whose objects differ from the uploaded files in size or checksum."""
        stored = {
            name.removeprefix(folder): (found.size, found.checksum)
            for name, found in listing.items()
            if name.startswith(folder)
        }
        if stored != sums:
            differ = sorted(name for name in stored.keys() | sums.keys() if stored.get(name) != sums.get(name))
            raise StoreError(
                f"{self._where(folder)} does not hold what was uploaded: {', '.join(differ)}. "
                "Another process writes to the model or the bucket; run again"
            )

    def _claim(self, model: str) -> int:
        """Reserves the next version number."""
        used = [_number(name) for name in self._objects.objects(f"{model}/")]
        first = next_version(used, self._clock(), self._where(model))
        for number in range(first, first + ATTEMPTS):
            if self._objects.put(f"{model}/{CLAIMS}/{number}", self._who().encode(), ABSENT):
                return number
        taken = f"{ATTEMPTS} in a row were taken; run again"
        raise StoreError(f"no number can be claimed in {self._where(model)}: {taken}")

    def _clean(self, model: str, deleted: frozenset[int]) -> None:
        listing = self._objects.objects(f"{model}/") if deleted else {}
        with_data = {version_of(name.split("/")[1]) for name in listing}
        for number in sorted(deleted & with_data):
            self._delete_data(model, number, listing)

    def _discard_abandoned(self, model: str, own: int, deleted: frozenset[int]) -> None:
        """Deletes the remains of killed pushers: their claims are old, and no version came of them."""
        listing = self._objects.objects(f"{model}/")
        kept = {own, *deleted, *(_number(name) for name in listing if name.endswith(f"/{MODEL}"))}
        until = listing[f"{model}/{CLAIMS}/{own}"].created - ABANDONED_SECONDS
        for name, claim in listing.items():
            if name.startswith(f"{model}/{CLAIMS}/") and _number(name) not in kept and claim.created < until:
                # The account may lack the permission to delete; the remains do no harm.
                with suppress(StoreError):
                    self._discard(model, _number(name))

    def _discard(self, model: str, number: int) -> None:
        self._delete_data(model, number, self._objects.objects(f"{model}/{number}/"))
        self._objects.delete([f"{model}/{MANIFESTS}/{number}.json"])

    def _delete_data(self, model: str, number: int, listing: Listing) -> None:
        folder = f"{model}/{number}/"
        # Without this file a SavedModel is refused at once; without its variables alone it loads, and fails later.
        self._objects.delete([folder + MODEL])
        others = [name for name in listing if name.startswith(folder) and name != folder + MODEL]
        self._objects.delete([*others, f"{model}/{BASELINES}/{number}.json"])

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
