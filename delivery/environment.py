"""One environment: its settings with overrides, and the things they name.

That is the module folders, the model store, records of runs, targets, the image's registry, the overlay and the
notifications. `delivery/submission.py` makes runs in it, `delivery/rollout.py` rollouts.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from delivery.manifests import render_overlay
from delivery.overrides import override_module, parse_pairs, split_overrides
from delivery.plan.fingerprints import Builder, Place
from delivery.plan.planner import Plan, plan_revision
from delivery.plan.tree import Repository
from delivery.registry import ImageRegistry
from delivery.targets.base import Target, newest_run
from delivery.targets.connection import KubeflowConfig, VertexConfig
from delivery.targets.local import local_image
from pipelines.inputs import Locations
from pipelines.registry import find_pipeline
from serving.manifests import Object
from settings.load import PROJECT, load_settings
from settings.schema import Settings
from slipway.errors import ConfigError
from slipway.lineage import DEFAULT_PIPELINE
from slipway.module_api import ModuleConfig
from slipway.module_kit.check import check_module
from slipway.runs.explain import Explanation, explain_run, explain_version
from slipway.runs.store import RunView, load_run
from slipway.stores import storage
from slipway.stores.model_store import ModelStore, open_store
from slipway.targets import RemoteTarget


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
        settings = load_settings(self.name, [("image", self.settings.image), *for_settings])
        return Environment(self.name, settings, dict(for_settings), for_module)

    def with_image(self, image: str | None) -> Environment:
        """The same environment with another image; without one, itself."""
        return replace(self, settings=self.settings.model_copy(update={"image": image})) if image else self

    # Where its state is

    @property
    def local(self) -> Locations:
        """State of runs on this machine: all of it below `home`, so that deleting that resets everything."""
        return Locations.under(str(self.settings.home))

    @property
    def remote(self) -> Locations:
        """State that runs on a cluster share.

        Raises:
            ConfigError: the settings have no remote_home.
        """
        home = self.settings.remote_home
        if not home.startswith("gs://"):
            raise ConfigError(
                f"remote_home = {home!r}: a run on a cluster needs a bucket; set remote_home: gs://BUCKET/slipway in "
                "settings/<environment>.yaml"
            )
        return Locations.under(home)

    @property
    def state(self) -> Locations:
        """The environment's own state: below remote_home where the settings have one, else below `home`."""
        return self.remote if self.settings.remote_home else self.local

    def store(self, uri: str | None = None) -> ModelStore:
        """The model store, or the one at a URI."""
        return open_store(uri or self.state.store)

    # Runs

    def run(self, name: str | None = None, target: RemoteTarget | None = None) -> RunView:
        """The record of a run; the newest without a name.

        Args:
            name: Of the run; on a target also its id or title.
            target: Where it ran. Without one, a run of this machine comes before one in remote_home.

        Raises:
            StoreError: there is no such run, or it left no record.
        """
        if target:
            opened = self.target(target)
            return load_run(self.remote.runs, (opened.show(name) if name else newest_run(opened)).name)
        here = self.settings.home / "runs"
        return load_run(here if name and (here / name).is_dir() else self.state.runs, name)

    def explain(self, what: str | None, target: RemoteTarget | None = None) -> Explanation:
        """The reasons of a run's or a version's verdict; the newest run without a name.

        Raises:
            StoreError: there is no such run or version.
        """
        if what and ("/" in what or what.isdigit()):
            return explain_version(what, self.state.runs, self.store())
        return explain_run(self.run(what, target), self.store())

    # Modules

    def module_folders(self, names: Iterable[str] | None = None) -> list[Path]:
        """Folders of the named modules; of all without names.

        Raises:
            ConfigError: there is no module of a name.
        """
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
        [folder] = self.module_folders([name])
        return folder, override_module(check_module(folder), self.for_module)

    # Targets

    def target(self, name: RemoteTarget | None = None) -> Target:
        """A target, not connected yet; the only one that the settings configure, without a name.

        Raises:
            ConfigError: a setting that it needs is missing.
        """
        name = name or self._configured_target()
        content = getattr(self.settings, name).model_dump() | {"environment": self.name or "base"}
        if self.settings.remote_home and not content["pipeline_root"]:
            content["pipeline_root"] = storage.join(self.settings.remote_home, "artifacts")
        # Each target's client takes a while to import, so the settings are checked before.
        if name == "kubeflow":
            kubeflow = KubeflowConfig(**content)
            from delivery.targets.kubeflow import KubeflowTarget

            return KubeflowTarget(kubeflow)
        vertex = VertexConfig(**content)
        from delivery.targets.vertex import VertexTarget

        return VertexTarget(vertex)

    def _configured_target(self) -> RemoteTarget:
        configured: dict[RemoteTarget, str] = {
            "kubeflow": self.settings.kubeflow.endpoint,
            "vertex": self.settings.vertex.project,
        }
        known = [name for name, value in configured.items() if value]
        if len(known) != 1:
            have = (
                "both kubeflow.endpoint and vertex.project" if known else "neither kubeflow.endpoint nor vertex.project"
            )
            raise ConfigError(f"the settings have {have}: give --target kubeflow or --target vertex, and --env")
        return known[0]

    # Image, overlay, plan

    @cached_property
    def checkout(self) -> Repository:
        """The checkout of the working directory, if it is one of this project; else that of this program."""
        here = Path.cwd()
        folders = (folder for folder in (here, *here.parents) if (folder / "settings" / "base.yaml").is_file())
        return Repository(next(folders, PROJECT))

    @property
    def code_image(self) -> str:
        """The reference that stands for this checkout's code as an image: kfp.local's cache is keyed on it."""
        return local_image(PROJECT, PROJECT / "requirements.lock")

    @cached_property
    def registry(self) -> ImageRegistry | None:
        """The registry of the image; None if the settings name no repository."""
        repository = self.settings.delivery.image_repository
        return ImageRegistry(repository) if repository else None

    @property
    def builder(self) -> Builder:
        """The program that builds the image."""
        its = self.settings.delivery
        return Builder(its.builder, its.build_arguments, its.build_options)

    @property
    def overlay(self) -> list[Object]:
        """The objects around the models that the environment serves, rendered.

        Raises:
            ConfigError: the settings name no overlay.
        """
        name = self.settings.serving.overlay
        if not name:
            raise ConfigError(
                "these settings name no cluster to serve in: set serving.overlay in settings/<environment>.yaml"
            )
        return render_overlay(PROJECT / "manifests" / "overlays" / name, self.settings.image)

    def plan(
        self, *, base: str | None, head: str = "HEAD", offline: bool = False, pipeline: str = DEFAULT_PIPELINE
    ) -> Plan:
        """The plan for a commit; see `delivery.plan.planner.plan_revision`."""
        place = Place(
            environment=self.name,
            overlay=self.settings.serving.overlay,
            target=self.settings.delivery.target,
            pipeline=find_pipeline(pipeline).name,
            registry=self.registry,
            image=self.settings.image,
            home=self.settings.remote_home,
            builder=self.builder,
        )
        return plan_revision(self.checkout, place, base=base, head=head, offline=offline)


def open_environment(name: str | None = None, pairs: Iterable[str] | None = None) -> Environment:
    """An environment with the overrides of `--set`.

    Args:
        name: Of a file beside base.yaml; `SLIPWAY_ENV` if not given; base.yaml alone if neither.
        pairs: `key=value`.

    Raises:
        ConfigError: there is no such environment, or a setting or an override is wrong.
    """
    name = name or os.environ.get("SLIPWAY_ENV") or None
    for_settings, for_module = split_overrides(parse_pairs(pairs or ()))
    return Environment(name, load_settings(name, for_settings), dict(for_settings), for_module)
