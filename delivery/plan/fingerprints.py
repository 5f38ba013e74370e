"""Fingerprints of a commit in an environment: the image's tag, each module's digest, the settings and the overlay."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, Self

from pydantic import BaseModel, ConfigDict

from delivery.plan.classes import IN_IMAGE, classify
from delivery.plan.tree import SUBMODULE, SYMLINK, Repository, Tree
from slipway.errors import DeliveryError, ModuleError, SlipwayError
from slipway.module_kit.requirements import LOCK, digest_lock
from slipway.stores.module_store import NAME, check_size, counts, digest_files, shared_features
from slipway.targets import DEFAULT_PIPELINE, RemoteTarget

if TYPE_CHECKING:
    from delivery.registry import ImageRegistry

MODULES = "modules/"
OVERLAYS = "manifests/overlays/"
# An administrator applies these once, with rights that no deployment has; their kustomizations, if not by environment.
ADMINISTRATION = {
    "manifests/mlflow/": "<sqlite|postgresql>",
    "manifests/monitor-account/": "",
    "manifests/pipeline-account/": "",
    "manifests/rollout-access/": "",
}

Files = Mapping[str, bytes]
Key = dict[str, str]


@dataclass(frozen=True)
class Builder:
    """How the image is built. `arguments` decide what is in it, and are part of its tag; `options` do not."""

    program: Literal["docker", "podman"] = "docker"
    arguments: Mapping[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()

    @property
    def for_gpus(self) -> Self:
        """How the image of tasks with an accelerator is built; its cache is another one, beside the image's."""
        options = tuple(re.sub(r"(type=registry,ref=[^,]+)", r"\1-gpu", option) for option in self.options)
        return replace(self, arguments={**self.arguments, "ACCELERATOR": "gpu"}, options=options)

    def commands(self, reference: str, revision: str) -> list[list[str]]:
        """The commands that build and push the image, in the project's folder."""
        # The revision sets a label only: in the tag, it would make a new image of each commit.
        arguments = {"GIT_REVISION": revision, **self.arguments}
        return self._commands(reference, arguments, self.options)

    def layer_commands(self, reference: str, image: str) -> list[list[str]]:
        """Those of a layer on an image by digest, in a folder with the layer's own Dockerfile."""
        # The cache stays the image's: the layer's would replace it.
        return self._commands(reference, {"BASE": image}, _without(self.options, "--cache-to"))

    def _commands(self, reference: str, arguments: Mapping[str, str], options: Sequence[str]) -> list[list[str]]:
        """One command where the build pushes what it made."""
        given = [word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")]
        # TensorFlow has packages for amd64 alone, and an Apple laptop builds for arm64 unless told otherwise.
        platform = ("--platform", "linux/amd64")
        build = [self.program, "build", *platform, "--tag", reference, *given, *options, "."]
        return [build] if "--push" in options else [build, [self.program, "push", reference]]

    def digest(self, reference: str) -> list[str]:
        """The command that asks the registry for an image's digest; what is known locally may be another one."""
        if self.program == "podman":
            return ["skopeo", "inspect", "--format", "{{.Digest}}", f"docker://{reference}"]
        return ["docker", "buildx", "imagetools", "inspect", "--format", "{{.Manifest.Digest}}", reference]


@dataclass(frozen=True)
class Place:
    """The settings of the environment that is planned for.

    Attributes:
        environment: Its name; None for base.yaml alone.
        overlay: Name of the overlay that it serves with; empty if it serves nowhere.
        target: Where runs are submitted.
        pipeline: Name of the pipeline that is submitted.
        registry: Where images are; None if the settings name no repository.
        image: The image by digest that the settings name; it counts where they name no repository.
        gpu_image: The same for the image of tasks with an accelerator.
        accelerators: What steps ask of the target, as `slipway.compute.accelerators_of` tells it.
        home: What runs on a cluster share; empty if the settings name none.
        builder: How images are built.
    """

    environment: str | None = None
    overlay: str = ""
    target: RemoteTarget = "kubeflow"
    pipeline: str = DEFAULT_PIPELINE
    registry: ImageRegistry | None = None
    image: str = ""
    gpu_image: str = ""
    accelerators: Mapping[str, str] = field(default_factory=dict)
    home: str = ""
    builder: Builder = field(default_factory=Builder)

    def has_settings(self, path: str) -> bool:
        """Whether its settings are read from a path."""
        return classify(path) == "settings" and path in {"settings/base.yaml", f"settings/{self.environment}.yaml"}

    def has_overlay(self, path: str) -> bool:
        """Whether its overlay may be rendered from a path."""
        if not self.overlay or classify(path) != "manifest" or path.startswith(tuple(ADMINISTRATION)):
            return False
        return not path.startswith(OVERLAYS) or path.startswith(f"{OVERLAYS}{self.overlay}/")


class Fingerprints(BaseModel):
    """Everything that decides what an environment gets. Equal fingerprints mean equal content, whatever the history.

    Attributes:
        target: Where runs are submitted.
        image_tag: The hash of all that goes into the image.
        gpu_image_tag: The same for the image of tasks with an accelerator; empty if none has one.
        accelerators: What steps ask of the target; empty if none asks.
        module_digests: Digest of every module, as `publish_module` computes it from a clean checkout.
        requirements: Digest of what is locked, by module; a module without a lock is not among them.
        settings_digest: Of the settings files of this environment.
        manifests_digest: Of the files that its overlay may be rendered from.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    target: RemoteTarget
    image_tag: str
    gpu_image_tag: str
    accelerators: str
    module_digests: dict[str, str]
    requirements: dict[str, str]
    settings_digest: str
    manifests_digest: str

    def run_key(self, module: str) -> Key:
        """The key of a module's runs in this environment: everything that decides them except the data."""
        return {
            "image": self.image_tag,
            "module": self.module_digests[module],
            "settings": self.settings_digest,
            "target": self.target,
            **({"GPU image": self.gpu_image_tag, "accelerators": self.accelerators} if self.accelerators else {}),
        }

    def keys(self, tree: Tree, overlay: str) -> dict[str, Key]:
        """The keys of everything that the commit deploys, by subject."""
        keys = {"image": {"image": self.image_tag}}
        if self.gpu_image_tag:
            keys["gpu-image"] = {"GPU image": self.gpu_image_tag}
        keys |= {f"image {name}": self.layer_key(name) for name in self.requirements}
        keys |= {f"module {name}": {"module": digest} for name, digest in self.module_digests.items()}
        keys |= {f"pipeline {name}": self.run_key(name) for name in self.module_digests}
        folder = f"{OVERLAYS}{overlay}"
        if overlay and any(path.startswith(f"{folder}/") for path in tree.entries):
            keys[f"overlay {folder}"] = self.overlay_key()
        return keys

    def layer_key(self, module: str) -> Key:
        """The key of the layers on the images that a module's steps run in."""
        on_gpu = {"GPU image": self.gpu_image_tag} if self.gpu_image_tag else {}
        return {"image": self.image_tag, **on_gpu, "requirements": self.requirements[module]}

    def overlay_key(self) -> Key:
        """The key of the overlay's objects."""
        return {"manifests": self.manifests_digest}


def fingerprint(tree: Tree, modules: Mapping[str, Files], place: Place) -> Fingerprints:
    """The fingerprints of a commit, from the tree's listing and the files of its modules."""

    def image_tag(builder: Builder) -> str:
        arguments = json.dumps(dict(builder.arguments), sort_keys=True)
        return _hash(tree, lambda path: classify(path) in IN_IMAGE, arguments)

    return Fingerprints(
        target=place.target,
        image_tag=image_tag(place.builder),
        gpu_image_tag=image_tag(place.builder.for_gpus) if place.accelerators else "",
        accelerators=", ".join(f"{step}: {asked}" for step, asked in sorted(place.accelerators.items())),
        module_digests={name: digest_files(files) for name, files in modules.items()},
        requirements={name: digest_lock(files[LOCK]) for name, files in modules.items() if LOCK in files},
        settings_digest=_hash(tree, place.has_settings),
        manifests_digest=_hash(tree, place.has_overlay),
    )


def layer_tag(image: str, requirements: str) -> str:
    """The tag of a layer on an image by digest, by the digest of what is locked."""
    return hashlib.sha256(f"{image.rpartition('@')[2]} {requirements}".encode()).hexdigest()


def read_modules(repository: Repository, tree: Tree, *, skip_refused: bool = False) -> dict[str, Files]:
    """Files of each module at a revision; the modules are the folders with a module.yaml.

    Raises:
        ModuleError: one is too large, or holds a symbolic link or a submodule, and `skip_refused` is false.
    """
    config = re.compile(rf"{MODULES}({NAME.pattern})/module\.yaml")
    named = filter(None, map(config.fullmatch, tree.entries))
    paths: dict[str, list[str]] = {name: [] for name in sorted(found[1] for found in named)}
    for path in tree.entries:
        if (owner := module_of(path)) and owner in paths:
            paths[owner].append(path)
    # Git is asked once for all modules' own files and once for the shared ones: a process for each takes far longer.
    own = repository.contents(tree, [path for each in paths.values() for path in each])
    refusing = suppress(SlipwayError) if skip_refused else nullcontext()
    alone: dict[str, Files] = {}
    shared: dict[str, list[str]] = {}
    for name, its in paths.items():
        with refusing:
            alone[name] = _own_files(tree, name, its, own)
            shared[name] = _shared_paths(tree, name, alone[name])
    others = repository.contents(tree, sorted({path for each in shared.values() for path in each}))
    modules: dict[str, Files] = {}
    for name, its in shared.items():
        with refusing:
            files = dict(sorted({**alone[name], **_required(tree, its, others)}.items()))
            check_size(f"{MODULES}{name}/", {path: len(content) for path, content in files.items()})
            modules[name] = files
    return modules


def module_of(path: str) -> str | None:
    """The module whose folder a path is content of; None for any other path, and for a module's caches."""
    if classify(path) != "module":
        return None
    name, _, inside = path.removeprefix(MODULES).partition("/")
    return name if counts(inside) else None


def _own_files(tree: Tree, name: str, paths: Sequence[str], contents: Files) -> dict[str, bytes]:
    """The files of a module's folder, by their paths in it."""
    for path in paths:
        if kind := {SYMLINK: "a symbolic link", SUBMODULE: "a submodule"}.get(tree.entries[path].mode):
            raise ModuleError(f"{path} is {kind}; put the files themselves into the module")
    return {path.removeprefix(f"{MODULES}{name}/"): its for path, its in _required(tree, paths, contents).items()}


def _shared_paths(tree: Tree, name: str, files: Files) -> list[str]:
    """The shared features that a module names, and does not hold itself."""
    shared = [path for path in shared_features(files) if path not in files]
    if missing := [path for path in shared if path not in tree.entries]:
        raise ModuleError(
            f"{MODULES}{name}/module.yaml names the shared feature {missing[0]}, which is not in Git: add it"
        )
    return shared


def _required(tree: Tree, paths: Sequence[str], contents: Files) -> dict[str, bytes]:
    if missing := [path for path in paths if path not in contents]:
        raise DeliveryError(f"Git has no content of {missing[0]} at {tree.revision}; fetch the whole history")
    return {path: contents[path] for path in paths}


def _without(options: Sequence[str], name: str) -> list[str]:
    """Options without one of them, which is written as `--name=value` or as two words."""
    return [
        word
        for before, word in zip(("", *options), options, strict=False)
        if word.partition("=")[0] != name and before != name
    ]


def _hash(tree: Tree, belongs: Callable[[str], bool], extra: str = "") -> str:
    total = hashlib.sha256(extra.encode())
    for path, entry in sorted(tree.entries.items()):
        if belongs(path):
            total.update(f"{entry.mode} {entry.blob} {path}\0".encode())
    return total.hexdigest()
