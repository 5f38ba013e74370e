"""One environment: its settings with overrides, and the things they name.

That is the module folders, the model store, the place of runs, targets, the image's registry, the overlay and the
notifications. `delivery/submission.py` makes runs in it, `delivery/rollout.py` rollouts.

Every command opens an environment, and few use all of it: what the rest of it needs is imported there.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from delivery.overrides import override_module, parse_pairs, split_overrides
from pipelines.registry import Locations, find_pipeline
from settings.load import ENVIRONMENT, PROJECT, load_settings
from settings.schema import Settings
from slipway.compute import accelerators_of
from slipway.errors import ConfigError
from slipway.module_api import ModuleConfig
from slipway.runs.tracking.config import Tracked
from slipway.stores import storage
from slipway.targets import DEFAULT_PIPELINE, RemoteTarget
from slipway.targets import Target as AnyTarget

if TYPE_CHECKING:
    from delivery.compile import Destination
    from delivery.plan.fingerprints import Builder
    from delivery.plan.planner import Plan
    from delivery.plan.tree import Repository
    from delivery.registry import ImageRegistry
    from delivery.targets.base import Target
    from serving.manifests import Object
    from slipway.stores.model_store import ModelStore


@dataclass(frozen=True)
class Environment:
    """What the settings of one environment name.

    Attributes:
        name: Of the file beside base.yaml; None for base.yaml alone.
        settings: With all overrides.
        for_settings: Overrides of the settings, by dotted key.
        for_module: Overrides of module.yaml, nested.
    """

    name: str | None
    settings: Settings
    for_settings: dict[str, Any] = field(default_factory=dict)
    for_module: dict[str, Any] = field(default_factory=dict)

    def override(self, overrides: Iterable[tuple[str, Any]]) -> Environment:
        """The same environment with other values, as `--set` gives them."""
        for_settings, for_module = split_overrides(overrides)
        images = [("image", self.settings.image), ("gpu_image", self.settings.gpu_image)]
        settings = load_settings(self.name, [*images, *for_settings])
        return Environment(self.name, settings, dict(for_settings), for_module)

    def with_image(self, image: str | None, gpu_image: str = "") -> Environment:
        """The same environment with other images; each that is empty stays as it is."""
        given = {"image": image, "gpu_image": gpu_image}
        changed = {name: value for name, value in given.items() if value}
        return replace(self, settings=self.settings.model_copy(update=changed))

    def accelerators(self, target: AnyTarget) -> dict[str, str]:
        """What the steps that train ask of a target; see `slipway.compute.accelerators_of`."""
        return accelerators_of(self.settings.compute, target)

    @property
    def project(self) -> Path:
        """The folder that holds the folder of modules; `data` of a module.yaml is relative to it."""
        return self.settings.modules.parent

    @property
    def local(self) -> Locations:
        """Locations of local runs' state, all below `home`: deleting that folder resets everything."""
        return Locations.under(str(self.settings.home))

    @property
    def remote(self) -> Locations:
        """State that runs on a cluster share; a ConfigError if the settings have no remote_home."""
        home = self.settings.remote_home
        if not storage.in_bucket(home):
            raise ConfigError(
                f"remote_home = {home!r}: a run on a cluster needs a bucket; set remote_home: gs://BUCKET/slipway, or "
                "s3://BUCKET/slipway, in settings/<environment>.yaml"
            )
        roots = (self.settings.kubeflow.pipeline_root, self.settings.vertex.pipeline_root)
        return Locations.under(home, *filter(None, roots))

    @property
    def state(self) -> Locations:
        """The environment's own state: below remote_home where the settings have one, else below `home`."""
        return self.remote if self.settings.remote_home else self.local

    def snapshots_of(self, *data: str) -> str:
        """Where the snapshots are that data URIs name: on this machine, else where runs on a cluster look for them."""
        from slipway.data.snapshots.store import find_snapshot, is_snapshot

        here, shared = self.local.data, self.state.data
        names = [uri.removeprefix("snapshot:") for uri in data if is_snapshot(uri)]
        return here if here == shared or all(find_snapshot(here, name) for name in names) else shared

    def store(self, uri: str | None = None) -> ModelStore:
        """The model store, or the one at a URI."""
        from slipway.stores.model_store import open_store

        return open_store(uri or self.state.store)

    def module_folders(self, names: Iterable[str] | None = None) -> list[Path]:
        """Folders of the named modules, all of them without names; a ConfigError if one is not there."""
        root = self.settings.modules
        known = sorted(path.parent.name for path in root.glob("*/module.yaml"))
        for name in names or ():
            if name not in known:
                raise ConfigError(
                    f"there is no module {name!r}: {root / name}/module.yaml is missing. Modules: "
                    f"{', '.join(known) or 'none'}. `slipway module new {name} --data FILE` makes one"
                )
        return [root / name for name in names or known]

    def module(self, name: str) -> tuple[Path, ModuleConfig]:
        """A module's folder, and its checked configuration with overrides."""
        from slipway.module_kit.check import check_module

        [folder] = self.module_folders([name])
        return folder, override_module(check_module(folder), self.for_module)

    def target(self, name: RemoteTarget | None = None) -> Target:
        """A target, not connected yet; the only one that the settings configure, without a name.

        A ConfigError names a missing setting.
        """
        from delivery.targets.connection import KubeflowConfig, VertexConfig

        name = name or self._configured_target()
        content = getattr(self.settings, name).model_dump() | {"environment": self.name or "base"}
        content["pipeline_root"] = self.pipeline_root(name)
        # Each target's client takes a while to import, so the settings are checked before.
        if name == "kubeflow":
            kubeflow = KubeflowConfig(**content)
            from delivery.targets.kubeflow import KubeflowTarget

            return KubeflowTarget(kubeflow)
        vertex = VertexConfig(**content)
        from delivery.targets.vertex import VertexTarget

        return VertexTarget(vertex)

    def pipeline_root(self, target: RemoteTarget) -> str:
        """Root of the steps' artifacts; empty if the settings name none.

        Raises:
            ConfigError: it would have a query that Kubeflow does not know.
        """
        home, own = self.settings.remote_home, getattr(self.settings, target).pipeline_root
        if not own and home.startswith("s3://") and "?" in home:
            raise ConfigError(
                f"remote_home = {home!r}: Kubeflow keeps the steps' artifacts below it, and does not know what stands "
                "behind the ?. Leave that out, and set AWS_ENDPOINT_URL and AWS_REGION here and in the secret "
                "kubeflow.s3_secret; or set kubeflow.pipeline_root: s3://BUCKET/PATH"
            )
        return own or (storage.join(home, "artifacts") if home else "")

    def tracked(self, *, local: bool) -> Tracked:
        """Tracking of runs on this machine or on a cluster. A store here is not mirrored: each person has another."""
        place = {"environment": "local"} if local else {"environment": self.name or "base", "store": self.remote.store}
        return Tracked(**self.settings.tracking.model_dump(), **place)

    def destination(self, target: RemoteTarget, image: str, gpu_image: str, pipeline: str) -> Destination:
        """Where a pipeline is compiled for, with the images of its steps."""
        from delivery.compile import Destination

        its, kubeflow = self.settings, self.settings.kubeflow
        for name in (*getattr(its, target).service_accounts, *kubeflow.s3_secrets):
            find_pipeline(name)  # refuses a name that none has
        wanted = {
            "activeDeadlineSeconds": kubeflow.active_deadline_seconds,
            "resourceTtlOnCompletion": kubeflow.ttl_seconds,
        }
        limits = {name: value for name, value in wanted.items() if value and target == "kubeflow"}
        root, secret = self.pipeline_root(target), kubeflow.secret_of(pipeline)
        return Destination(
            target,
            image,
            its.compute,
            root,
            limits,
            gpu_image=gpu_image,
            s3_secret=secret,
            network_attachment=its.vertex.network_attachment,
        )

    def has_target(self, name: RemoteTarget) -> bool:
        """Whether the settings say where a target is."""
        return bool({"kubeflow": self.settings.kubeflow.endpoint, "vertex": self.settings.vertex.project}[name])

    def _configured_target(self) -> RemoteTarget:
        kubeflow, vertex = self.has_target("kubeflow"), self.has_target("vertex")
        if kubeflow == vertex:
            have = "{} kubeflow.endpoint {} vertex.project".format(*(("both", "and") if vertex else ("neither", "nor")))
            raise ConfigError(f"the settings have {have}: give --target kubeflow or --target vertex, and --env")
        return "kubeflow" if kubeflow else "vertex"

    @cached_property
    def checkout(self) -> Repository:
        """The checkout of the working directory, if it is one of this project; else that of this program."""
        from delivery.plan.tree import Repository

        here = Path.cwd()
        folders = (folder for folder in (here, *here.parents) if (folder / "settings" / "base.yaml").is_file())
        return Repository(next(folders, PROJECT))

    @property
    def code_image(self) -> str:
        """Image reference that identifies this checkout's code; kfp.local's cache is keyed on it."""
        from delivery.targets.local import local_image

        return local_image(PROJECT, PROJECT / "requirements.lock")

    @cached_property
    def registry(self) -> ImageRegistry | None:
        """The registry of the image; None if the settings name no repository."""
        from delivery.registry import ImageRegistry

        repository = self.settings.delivery.image_repository
        return ImageRegistry(repository) if repository else None

    @property
    def builder(self) -> Builder:
        """The program that builds the image."""
        from delivery.plan.fingerprints import Builder

        its = self.settings.delivery
        return Builder(its.builder, its.build_arguments, its.build_options)

    @property
    def overlay(self) -> list[Object]:
        """The objects around the models that the environment serves, rendered; a ConfigError without an overlay."""
        from delivery.manifests import render_overlay

        return render_overlay(self._overlay_folder, self.settings.image)

    @property
    def namespace(self) -> str:
        """The namespace that serves; needs no kustomize, and no overlay that is filled in."""
        from delivery.manifests import overlay_namespace

        if namespace := overlay_namespace(self._overlay_folder):
            return namespace
        raise ConfigError(f"the overlay {self._overlay_folder} names no namespace: set `namespace:` in it")

    @property
    def _overlay_folder(self) -> Path:
        name = self.settings.serving.overlay
        if not name:
            raise ConfigError(
                "these settings name no cluster to serve in: set serving.overlay in settings/<environment>.yaml"
            )
        return PROJECT / "manifests" / "overlays" / name

    def plan(
        self, *, base: str | None, head: str = "HEAD", offline: bool = False, pipeline: str = DEFAULT_PIPELINE
    ) -> Plan:
        """The plan for a commit; see `delivery.plan.planner.plan_revision`."""
        from delivery.plan.fingerprints import Place
        from delivery.plan.planner import plan_revision

        place = Place(
            environment=self.name,
            overlay=self.settings.serving.overlay,
            target=self.settings.delivery.target,
            pipeline=find_pipeline(pipeline).name,
            registry=self.registry,
            image=self.settings.image,
            gpu_image=self.settings.gpu_image,
            accelerators=self.accelerators(self.settings.delivery.target),
            home=self.settings.remote_home,
            builder=self.builder,
        )
        return plan_revision(self.checkout, place, base=base, head=head, offline=offline)


def open_environment(name: str | None = None, pairs: Iterable[str] | None = None) -> Environment:
    """The environment of a name, else of `SLIPWAY_ENV`, else of base.yaml alone, with the `key=value` of `--set`.

    Raises:
        ConfigError: there is no such environment, or a setting or an override is wrong.
    """
    name = name or os.environ.get(ENVIRONMENT) or None
    for_settings, for_module = split_overrides(parse_pairs(pairs or ()))
    return Environment(name, load_settings(name, for_settings), dict(for_settings), for_module)
