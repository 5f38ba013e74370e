"""What a commit is made of, by class: the image's tag, each module's digest, the settings and manifests of a place."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from delivery.plan.classes import IN_IMAGE, classify
from delivery.plan.tree import SUBMODULE, SYMLINK, Repository, Tree
from slipway.errors import ModuleError
from slipway.stores.module_store.content import NAME, check_size, counts, digest_files

MODULES = "modules/"
OVERLAYS = "manifests/overlays/"
# An administrator applies these once, with rights that no deployment has.
ADMINISTRATION = "manifests/rollout-access/"

Files = Mapping[str, bytes]


@dataclass(frozen=True)
class Scope:
    """What one plans for: an environment of the settings (None for base.yaml alone), and the overlay it serves with."""

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


@dataclass(frozen=True)
class Fingerprints:
    """Equal fingerprints mean equal content, whatever the history. Modules are by name, with their files."""

    image_tag: str
    module_files: dict[str, Files]
    settings: str
    manifests: str

    @property
    def modules(self) -> dict[str, str]:
        """Each module's digest: what `publish_module` computes from a clean checkout."""
        return {name: digest_files(files) for name, files in self.module_files.items()}


def fingerprint(repository: Repository, tree: Tree, scope: Scope, build_arguments: Mapping[str, str]) -> Fingerprints:
    """Reads the tree's listing, and the content of modules only.

    Raises:
        ModuleError: a module is too large, or holds a symbolic link or a submodule.
    """
    return Fingerprints(
        image_tag=_hash(tree, lambda path: classify(path) in IN_IMAGE, json.dumps(build_arguments, sort_keys=True)),
        module_files={name: _module_files(repository, tree, name) for name in module_names(tree)},
        settings=_hash(tree, scope.has_settings),
        manifests=_hash(tree, scope.has_overlay),
    )


def module_names(tree: Tree) -> list[str]:
    """Names of the modules at a revision, sorted: the folders with a module.yaml."""
    names = (path.split("/")[1] for path in tree.entries if path.count("/") == 2 and path.endswith("/module.yaml"))
    return sorted(name for name in names if f"{MODULES}{name}/module.yaml" in tree.entries and NAME.fullmatch(name))


def module_of(path: str) -> str | None:
    """The module that a path is content of; None for what is no module's, and for a module's caches."""
    if classify(path) != "module":
        return None
    name, _, inside = path.removeprefix(MODULES).partition("/")
    return name if counts(inside) else None


def _module_files(repository: Repository, tree: Tree, name: str) -> Files:
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
