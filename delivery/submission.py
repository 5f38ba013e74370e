"""Makes the runs of an environment: on this machine, on a target, and by schedule."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

from delivery.beam import beam_run
from delivery.compile import Destination, compile_pipeline, require_image
from delivery.environment import Environment
from delivery.images import image_of
from delivery.launch import RunRequest, request_run
from delivery.package import read_package
from delivery.reach import Reach
from delivery.targets.base import Recurring, Submission
from pipelines.registry import Locations, Platform, find_pipeline
from serving.manifests import publish_manifests, require_readable
from slipway.data.examples.joins import joins_of
from slipway.data.examples.source import parts_of
from slipway.data.snapshots.dvc import is_pointer
from slipway.data.snapshots.take import keep_pointer
from slipway.errors import ConfigError, ModuleError
from slipway.lineage import Lineage, user_at_host
from slipway.module_api import ModuleConfig
from slipway.module_kit.check import check_data
from slipway.module_kit.loader import load_function
from slipway.module_kit.requirements import check_installed
from slipway.platforms.prepared import write_prepared
from slipway.runs.naming import JOB, run_name_of
from slipway.stores import storage
from slipway.stores.module_store import digest_module, publish_module
from slipway.targets import DEFAULT_PIPELINE, RemoteTarget, Target


def local_request(
    environment: Environment,
    module: str,
    data: str | None,
    *,
    notify: bool,
    pipeline: str = DEFAULT_PIPELINE,
    key: str = "",
    started_by: str = "",
) -> RunRequest:
    """A run on this machine, with the module published; its name ends with the key, if there is one.

    `data` is a URI, or a path from the working directory; the module's own without it, else its sample. Who starts it
    is the user of this process, unless something else is named.
    """
    platform = platform_of(environment, "local", environment.code_image, notify=notify)
    folder, config = environment.module(module)
    if absent := check_installed(folder):
        raise ModuleError("\n".join(absent))
    uri = data or config.data
    if uri is None:
        uri = str(sample_data(folder, environment.settings.home))
    else:
        uri = keep_pointer(",".join(parts_of(uri, Path.cwd() if data else environment.project)), environment.local.data)
    joined = [join.data for join in joins_of(config, environment.project)]
    locations = replace(environment.local, data=environment.snapshots_of(uri, *joined))
    _check_columns(config, uri, locations, pipeline)
    own = environment.for_settings
    return request_run(
        folder,
        config,
        uri,
        locations,
        platform,
        pipeline=pipeline,
        settings_overrides=own,
        key=key,
        started_by=started_by or user_at_host(),
    )


def remote_request(
    environment: Environment,
    target: RemoteTarget,
    module: str,
    data: str | None = None,
    *,
    pipeline: str = DEFAULT_PIPELINE,
    publish: bool = True,
) -> RunRequest:
    """A run on a target; publishes the module, and its sample and the overlay if needed; without `publish`, nothing.

    `data` is a URI; the module's own without it, else its sample, uploaded.
    """
    reach = Reach(environment, target, pipeline)
    if storage.in_bucket(home := environment.settings.remote_home):
        reach.require(home, "remote_home", "set remote_home: gs://BUCKET/slipway")
    folder, config = environment.module(module)
    uri = data or config.data
    if uri and is_pointer(uri):
        [uri] = parts_of(uri, Path.cwd() if data else environment.project)
        uri = keep_pointer(uri, environment.remote.data, write=publish)
    uri = reach.require(uri or _sample_in_bucket(environment, folder, publish=publish))
    for join in joins_of(config, environment.project):
        reach.require(join.data, f"data of features/{join.view}.sql", "give gs://BUCKET/PATH")
    reach.require_others(config)
    if publish:
        _check_columns(config, uri, environment.remote, pipeline)
    image = image_of(folder, environment.settings.image)
    gpu_image = image_of(folder, environment.settings.gpu_image) if environment.accelerators(target) else ""
    platform = platform_of(environment, target, image, gpu_image, notify=True, publish=publish)
    return request_run(
        folder,
        config,
        uri,
        environment.remote,
        platform,
        pipeline=pipeline,
        settings_overrides=environment.for_settings,
        publish=publish,
        prepared_uri=_prepare(environment, target, module, data, pipeline, publish=publish),
    )


@contextmanager
def prepared(
    environment: Environment,
    target: RemoteTarget,
    module: str,
    data: str | None = None,
    *,
    pipeline: str = DEFAULT_PIPELINE,
    publish: bool = True,
    key: str = "",
) -> Iterator[Submission]:
    """A run on a target, with its pipeline compiled for as long as the block lasts; as `remote_request` takes it."""
    require_image(environment.settings.image)
    request = remote_request(environment, target, module, data, pipeline=pipeline, publish=publish)
    with TemporaryDirectory(prefix="slipway-compiled-") as folder:
        path = Path(folder) / f"{pipeline}.yaml"
        compile_pipeline(pipeline, _destination(environment, request.lineage, pipeline), request.arguments, path)
        package = read_package(path)
        yield Submission(package, package.fields, request.lineage, key)


def _prepare(
    environment: Environment, target: RemoteTarget, module: str, data: str | None, pipeline: str, *, publish: bool
) -> str:
    """The URI of the run that a pipeline's runs may start, written if `publish`; empty if they start none."""
    starts = find_pipeline(pipeline).starts
    if not starts:
        return ""
    with prepared(environment, target, module, data, pipeline=starts, publish=publish) as submission:
        digest = submission.digest(getattr(environment.settings, target).model_dump())
        uri = storage.join(environment.remote.prepared, f"{digest}.json")
        if publish:
            write_prepared(environment.target(target).prepare(submission, pipeline), uri)
    return uri


def write_package(
    environment: Environment, target: RemoteTarget, module: str, data: str | None, pipeline: str, output: Path
) -> None:
    """Compiles a pipeline for a target and a module; publishes nothing.

    Without a remote_home the file is for reading alone: a bucket's name stands for it, and no overlay is asked for.
    """
    require_image(environment.settings.image)
    if not environment.settings.remote_home:
        serving = environment.settings.serving.model_copy(update={"overlay": ""})
        readable = {"remote_home": "gs://BUCKET/slipway", "serving": serving}
        environment = replace(environment, settings=environment.settings.model_copy(update=readable))
    request = remote_request(environment, target, module, data, pipeline=pipeline, publish=False)
    compile_pipeline(pipeline, _destination(environment, request.lineage, pipeline), request.arguments, output)


def _destination(environment: Environment, lineage: Lineage, pipeline: str) -> Destination:
    assert lineage.target != "local"
    return environment.destination(lineage.target, lineage.image, lineage.gpu_image, pipeline)


def packaged(environment: Environment, target: RemoteTarget, path: Path, module: str, data: str | None) -> Submission:
    """A run of a file of `slipway compile`, as it is; publishes the module.

    Raises:
        ConfigError: the file is of another module, target or environment, or of other files of the module.
    """
    package, [folder] = read_package(path), environment.module_folders([module])
    lineage = package.run.lineage
    if (lineage.module, lineage.module_digest) != (module, digest_module(folder)):
        raise ConfigError(
            f"{path} was compiled for {lineage.module} {lineage.module_digest[:12]}, and {folder} is "
            f"{digest_module(folder)[:12]}: compile it anew"
        )
    wanted = storage.join(environment.remote.runs, run_name_of(target, module))
    if (lineage.target, package.run.uri) != (target, wanted):
        raise ConfigError(
            f"{path} was compiled for {lineage.target} and a record at {package.run.uri}, not for {target} and "
            f"{wanted}: compile it anew, with the same --target and --env"
        )
    publish_module(folder, environment.remote.modules)
    _prepare(environment, target, module, data, lineage.pipeline, publish=True)
    beam_run(environment, target, lineage.image)
    if lineage.arguments_uri and not storage.exists(lineage.arguments_uri):
        storage.write_text(lineage.arguments_uri, json.dumps(package.arguments))
    training = package.constant("training_uri")
    if training and not storage.exists(training):
        raise ConfigError(
            f"{path} starts a training as other settings, or --set, describe it ({training}): submit the pipeline "
            "itself, without the file"
        )
    given = {"data_uri": Reach(environment, target, lineage.pipeline).require(data)} if data else {}
    return Submission(package, package.fields | given, lineage)


@contextmanager
def recurring_runs(environment: Environment, target: RemoteTarget, *, publish: bool) -> Iterator[list[Recurring]]:
    """The enabled schedules of the settings, each with its pipeline compiled, for as long as the block lasts."""
    wanted = []
    with ExitStack() as kept:
        for name, its in environment.settings.schedules.items():
            if not its.enabled:
                continue
            own = environment.override(its.overrides.items())
            if _reuses_winner(own, its.module, its.overrides):
                own = environment.override([*its.overrides.items(), ("tuning.every", "never")])
            made = prepared(own, target, its.module, its.data, pipeline=its.pipeline, publish=publish)
            place = getattr(own.settings, target).model_dump()
            wanted.append(Recurring(name, its.cron, its.max_concurrency, its.catch_up, kept.enter_context(made), place))
        yield wanted


def _reuses_winner(environment: Environment, module: str, overrides: Iterable[str]) -> bool:
    """Whether a recurring run of a module that is tuned says nothing of `tuning`, nor module.yaml of `tuning.every`."""
    config = environment.module(module)[1]
    named = any(key.partition(".")[0] == "tuning" for key in overrides)
    return config.is_tuned and not named and not (config.tuning and config.tuning.every)


def sample_data(folder: Path, home: Path) -> Path:
    """The module's synthetic data, made once for each version of sample.py: a CSV file, or a folder of other files."""
    digest = sha256((folder / "sample.py").read_bytes()).hexdigest()
    path = home / "samples" / digest[:12] / f"{folder.name}.csv"
    if not path.is_file() and not path.with_suffix("").is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
        # A module's prints must not mix with a command's own output, which may be JSON.
        with TemporaryDirectory(dir=path.parent.parent) as unfinished, redirect_stdout(sys.stderr):
            made = Path(unfinished) / folder.name
            made.mkdir()
            uri = publish_module(folder, str(home / "modules")).uri
            load_function(uri, "sample", "write_sample")(made / path.name)
            if not any(made.iterdir()):
                raise ModuleError(f"{folder}/sample.py: write_sample wrote no file: neither its path nor one beside it")
            if (made / path.name).is_file():
                (made / path.name).rename(path)
            else:
                made.rename(path.with_suffix(""))
    return path if path.is_file() else path.with_suffix("")


def _check_columns(config: ModuleConfig, uri: str, locations: Locations, pipeline: str) -> None:
    """Raises a ModuleError for columns of module.yaml that the data lacks."""
    if find_pipeline(pipeline).shows.examples:  # another pipeline may need other columns
        check_data(config, uri, locations.data)


def platform_of(
    environment: Environment, target: Target, image: str, gpu_image: str = "", *, notify: bool, publish: bool = True
) -> Platform:
    """What the settings say of a target; `publish` says whether the overlay of a run on a cluster is published."""
    settings, serving, home = environment.settings, environment.settings.serving, environment.settings.remote_home
    if notify:
        settings.notifications.require_complete()
    rollout = {}
    if target != "local" and serving.overlay:
        with TemporaryDirectory() as scratch:
            # The overlay is named by its content, so a dry run finds the name elsewhere.
            overlay = environment.overlay
            require_readable(overlay, serving.models_path or environment.remote.store)
            uri = publish_manifests(overlay, home if publish else scratch)
        rollout = {
            "manifests_uri": storage.join(home, "manifests", uri.partition("?")[0].rpartition("/")[2]),
            # A step has no kubeconfig, so a context of one means nothing there.
            "cluster": serving.cluster if serving.cluster.startswith("projects/") else "",
            "policy": serving.policy,
            "environment": environment.name or "",
        }
    return Platform(
        target=target,
        image=image,
        gpu_image=gpu_image,
        accelerators=environment.accelerators(target),
        beam=beam_run(environment, target, image, publish=publish),
        distribution=settings.distribution,
        engine=settings.evaluation.engine,
        rollout=rollout,
        notifications=settings.notifications.model_dump(mode="json") if notify else {},
        request_log=settings.request_log,
        tracking=environment.tracked(local=target == "local").model_dump(mode="json") if settings.tracking.uri else {},
        page=environment.target(target).page(JOB) if target != "local" and environment.has_target(target) else "",
    )


def _sample_in_bucket(environment: Environment, folder: Path, *, publish: bool) -> str:
    home, remote_home = environment.settings.home, environment.settings.remote_home
    sample = sample_data(folder, home)
    for file in sorted(sample.iterdir()) if sample.is_dir() else [sample]:
        copy = storage.join(remote_home, *file.relative_to(home).parts)
        if publish and not storage.exists(copy):
            storage.copy(str(file), copy)
    return storage.join(remote_home, *sample.relative_to(home).parts)
