"""Fingerprints of a commit: the image's tag, each module's digest, the settings and overlay of an environment."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping

from pydantic import BaseModel, ConfigDict

from delivery.plan.classes import IN_IMAGE, classify
from delivery.plan.place import Place
from delivery.plan.tree import SUBMODULE, SYMLINK, Repository, Tree
from slipway.errors import ModuleError
from slipway.stores.module_store.content import NAME, check_size, counts, digest_files
from slipway.targets import RemoteTarget

MODULES = "modules/"

Files = Mapping[str, bytes]
Key = dict[str, str]


class Fingerprints(BaseModel):
    """Everything that decides what an environment gets. Equal fingerprints mean equal content, whatever the history.

    Attributes:
        target: Where runs are submitted.
        image_tag: The hash of all that goes into the image.
        module_digests: Digest of every module, as `publish_module` computes it from a clean checkout.
        settings_digest: Of the settings files of this environment.
        manifests_digest: Of the files that its overlay may be rendered from.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    target: RemoteTarget
    image_tag: str
    module_digests: dict[str, str]
    settings_digest: str
    manifests_digest: str

    def run_key(self, module: str) -> Key:
        """All that decides what a run of a module does here; the data apart."""
        return {
            "image": self.image_tag,
            "module": self.module_digests[module],
            "settings": self.settings_digest,
            "target": self.target,
        }

    def overlay_key(self) -> Key:
        """All that decides what the overlay makes."""
        return {"manifests": self.manifests_digest}


def fingerprint(tree: Tree, modules: Mapping[str, Files], place: Place) -> Fingerprints:
    """The fingerprints of a commit, from the tree's listing and the files of its modules."""
    build_arguments = json.dumps(dict(place.builder.arguments), sort_keys=True)
    return Fingerprints(
        target=place.target,
        image_tag=_hash(tree, lambda path: classify(path) in IN_IMAGE, build_arguments),
        module_digests={name: digest_files(files) for name, files in modules.items()},
        settings_digest=_hash(tree, place.has_settings),
        manifests_digest=_hash(tree, place.has_overlay),
    )


def module_names(tree: Tree) -> list[str]:
    """Names of the modules at a revision, sorted: the folders with a module.yaml."""
    parts = [path.split("/") for path in tree.entries]
    return sorted(
        part[1] for part in parts if [part[0], *part[2:]] == ["modules", "module.yaml"] and NAME.fullmatch(part[1])
    )


def module_of(path: str) -> str | None:
    """The module that a path is content of; None for any other path, and for a module's caches."""
    if classify(path) != "module":
        return None
    name, _, inside = path.removeprefix(MODULES).partition("/")
    return name if counts(inside) else None


def read_module(repository: Repository, tree: Tree, name: str) -> Files:
    """A module's files at a revision.

    Raises:
        ModuleError: it is too large, or holds a symbolic link or a submodule.
    """
    folder = f"{MODULES}{name}/"
    paths = [path for path in tree.entries if module_of(path) == name]
    for path in paths:
        if kind := {SYMLINK: "a symbolic link", SUBMODULE: "a submodule"}.get(tree.entries[path].mode):
            raise ModuleError(f"{path} is {kind}; put the files themselves into the module")
    files = {path.removeprefix(folder): content for path, content in repository.contents(tree, paths).items()}
    check_size(folder, {path: len(content) for path, content in files.items()})
    return files


def _hash(tree: Tree, belongs: Callable[[str], bool], extra: str = "") -> str:
    total = hashlib.sha256(extra.encode())
    for path, entry in sorted(tree.entries.items()):
        if belongs(path):
            total.update(f"{entry.mode} {entry.blob} {path}\0".encode())
    return total.hexdigest()
