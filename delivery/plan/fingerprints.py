"""Fingerprints of a commit: the image's tag, each module's digest, the settings and overlay of an environment."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from delivery.plan.classes import IN_IMAGE, classify
from delivery.plan.tree import SUBMODULE, SYMLINK, Repository, Tree
from slipway.errors import ModuleError
from slipway.stores.module_store import NAME, check_size, counts, digest_files
from slipway.targets import RemoteTarget

MODULES = "modules/"
OVERLAYS = "manifests/overlays/"
# An administrator applies these once, with rights that no deployment has.
ADMINISTRATION = "manifests/rollout-access/"

Files = Mapping[str, bytes]
Key = dict[str, str]


@dataclass(frozen=True)
class Scope:
    """An environment of the settings (None for base.yaml alone), and the overlay that it serves with."""

    environment: str | None = None
    overlay: str = ""

    def has_settings(self, path: str) -> bool:
        """Whether its settings are read from a path."""
        return classify(path) == "settings" and path in {"settings/base.yaml", f"settings/{self.environment}.yaml"}

    def has_overlay(self, path: str) -> bool:
        """Whether its overlay may be rendered from a path."""
        if not self.overlay or classify(path) != "manifest" or path.startswith(ADMINISTRATION):
            return False
        return not path.startswith(OVERLAYS) or path.startswith(f"{OVERLAYS}{self.overlay}/")


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


def fingerprint(
    tree: Tree,
    modules: Mapping[str, Files],
    scope: Scope,
    target: RemoteTarget = "kubeflow",
    build_arguments: Mapping[str, str] | None = None,
) -> Fingerprints:
    """The fingerprints of a commit, from the tree's listing and the files of its modules."""
    return Fingerprints(
        target=target,
        image_tag=_hash(
            tree, lambda path: classify(path) in IN_IMAGE, json.dumps(dict(build_arguments or {}), sort_keys=True)
        ),
        module_digests={name: digest_files(files) for name, files in modules.items()},
        settings_digest=_hash(tree, scope.has_settings),
        manifests_digest=_hash(tree, scope.has_overlay),
    )


def module_names(tree: Tree) -> list[str]:
    """Names of the modules at a revision, sorted: the folders with a module.yaml."""
    names = (path.split("/")[1] for path in tree.entries if path.count("/") == 2 and path.endswith("/module.yaml"))
    return sorted(name for name in names if f"{MODULES}{name}/module.yaml" in tree.entries and NAME.fullmatch(name))


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
        if tree.entries[path].mode in (SYMLINK, SUBMODULE):
            kind = "a symbolic link" if tree.entries[path].mode == SYMLINK else "a submodule"
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
