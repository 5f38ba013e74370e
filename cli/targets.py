"""The target that `--target` names, and what is submitted to it: settings become the delivery room's own types."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from delivery.targets.base import Submission, Target
    from settings.schema import Settings

RemoteTarget = Literal["kubeflow", "vertex"]
PipelineOption = Annotated[str, typer.Option("--pipeline", metavar="NAME", help="Name of the pipeline.")]
TargetOption = Annotated[RemoteTarget, typer.Option("--target", help="Where it runs.")]
EnvOption = Annotated[str | None, typer.Option("--env", help="Settings of settings/<ENV>.yaml over base.yaml.")]


def open_target(settings: Settings, name: RemoteTarget, environment: str | None) -> Target:
    """The target as one environment sees it, not asked anything yet.

    Raises:
        ConfigError: a setting that it needs is missing; the message names it.
    """
    if name == "kubeflow":
        from delivery.targets.kubeflow import KubeflowTarget
        from delivery.targets.kubeflow_config import KubeflowConfig

        return KubeflowTarget(KubeflowConfig(**_content(settings, environment, settings.kubeflow.model_dump())))
    from delivery.targets.vertex import VertexTarget
    from delivery.targets.vertex_api import VertexConfig

    return VertexTarget(VertexConfig(**_content(settings, environment, settings.vertex.model_dump())))


def configured_target(settings: Settings) -> RemoteTarget:
    """The only target that the settings name.

    Raises:
        ConfigError: they name none, or both.
    """
    from slipway.errors import ConfigError

    known: list[RemoteTarget] = []
    if settings.kubeflow.endpoint:
        known.append("kubeflow")
    if settings.vertex.project:
        known.append("vertex")
    if len(known) != 1:
        have = "both kubeflow.endpoint and vertex.project" if known else "neither kubeflow.endpoint nor vertex.project"
        raise ConfigError(f"the settings have {have}: give --target kubeflow or --target vertex, and --env")
    return known[0]


@contextmanager
def compiled(
    settings: Settings, target: RemoteTarget, image: str | None = None, pipeline: str = "training"
) -> Iterator[Path]:
    """A pipeline, compiled for a target, for as long as the block lasts."""
    import tempfile

    from delivery.compile import compile_pipeline

    with tempfile.TemporaryDirectory(prefix="slipway-compiled-") as folder:
        package = Path(folder) / f"{pipeline}.yaml"
        compile_pipeline(pipeline, target, image or settings.image, settings.compute, package)
        yield package


def prepare(
    settings: Settings,
    target: RemoteTarget,
    package: Path,
    module: str,
    data: str | None,
    overrides: dict[str, Any],
    *,
    pipeline: str = "training",
    settings_overrides: Mapping[str, Any] | None = None,
    publish: bool = True,
) -> Submission:
    """Publishes the module and pins everything that a run of it is given.

    Args:
        settings: Of the environment.
        target: Where it is to run.
        package: The compiled pipeline.
        module: Name of the module.
        data: URI; the module's own if None, and its sample, uploaded, if it has none.
        overrides: Of module.yaml, nested.
        pipeline: Its name.
        settings_overrides: Of the settings, by dotted key.
        publish: False to change nothing, for a rehearsal.
    """
    from cli.overrides import override_module
    from cli.workspace import module_folder, remote_locations
    from delivery.launch import request_run
    from delivery.package import read_package
    from delivery.targets.base import Submission
    from pipelines.platform import Platform
    from slipway.module_kit.check import check_module
    from slipway.runs.naming import JOB

    settings.notifications.require_complete()
    folder = module_folder(settings, module)
    config = override_module(check_module(folder), overrides)
    locations = remote_locations(settings)
    found = read_package(package)
    platform = Platform(
        target=target,
        image=found.image,
        beam_options=settings.beam.options,
        strategy=settings.distribution.strategy,
        engine=settings.evaluation.engine,
        notifications=settings.notifications.model_dump(mode="json"),
        page=open_target(settings, target, None).page(JOB),
        **_serving(settings, publish=publish),
    )
    data_uri = _remote_data(settings, folder, data or config.data, publish=publish)
    request = request_run(
        folder,
        config,
        data_uri,
        locations,
        platform,
        pipeline=pipeline,
        settings_overrides=settings_overrides,
        publish=publish,
    )
    return Submission(found, request.arguments, request.lineage)


def _serving(settings: Settings, *, publish: bool) -> dict[str, Any]:
    """The overlay into which the run's model is rolled out, published; nothing where the settings name none."""
    from tempfile import TemporaryDirectory

    from cli.rollout import serving_of
    from slipway.stores.storage import join

    if not settings.serving.overlay:
        return {}
    serving = serving_of(settings)
    # A step has no kubeconfig: a context of one is for the laptop.
    cluster = serving.cluster if serving.cluster.startswith("projects/") else ""
    with TemporaryDirectory() as scratch:
        # The overlay is named by its content, so a rehearsal finds the name elsewhere.
        uri = serving.publish(settings.remote_home if publish else scratch)
    uri = join(settings.remote_home, "manifests", uri.partition("?")[0].rpartition("/")[2])
    return {"manifests_uri": uri, "cluster": cluster, "rollout": serving.policy}


def _content(settings: Settings, environment: str | None, content: dict[str, Any]) -> dict[str, Any]:
    import os

    from slipway.stores.storage import join

    if settings.remote_home and not content["pipeline_root"]:
        content["pipeline_root"] = join(settings.remote_home, "artifacts")
    return content | {"environment": environment or os.environ.get("SLIPWAY_ENV") or "base"}


def _remote_data(settings: Settings, folder: Path, uri: str | None, *, publish: bool) -> str:
    from cli.workspace import sample_file
    from slipway.errors import ConfigError
    from slipway.stores import storage

    if uri is None:
        with redirect_stdout(sys.stderr):  # what a module's sample.py says is no part of the answer
            sample = sample_file(folder, settings.home)
        uri = storage.join(settings.remote_home, *sample.relative_to(settings.home).parts)
        if publish and not storage.exists(uri):
            storage.copy(str(sample), uri)
    for part in uri.split(","):
        if not part.startswith(("gs://", "bq://")):
            raise ConfigError(
                f"data = {part}: a run on a cluster cannot read this machine's files; copy it to a bucket and give "
                "--data gs://BUCKET/PATH, or --data bq://PROJECT.DATASET.TABLE"
            )
    return uri
