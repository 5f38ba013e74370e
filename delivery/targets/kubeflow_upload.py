"""Creates a pipeline and its experiment on Kubeflow, each once, even if several processes submit at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from delivery.package import Package
from delivery.targets.kubeflow_api import KubeflowApi, status_of
from slipway.errors import TargetError


def upload(api: KubeflowApi, package: Package) -> tuple[str, Any]:
    """The id of the experiment, and a reference to the pipeline version of the package.

    A version is named by the package's digest, so that what is there is not uploaded again.
    """
    import kfp_server_api

    experiment = _find_or_make(
        lambda: find_experiment(api),
        lambda find: api.call(
            f"make the experiment {api.config.experiment}",
            api.experiments.experiment_service_create_experiment,
            experiment=kfp_server_api.V2beta1Experiment(display_name=api.config.experiment, namespace=api.namespace),
            already=find,
        ),
    )
    pipeline = _find_or_make(
        lambda: _find_pipeline(api, package.name),
        lambda find: api.call(
            f"make the pipeline {package.name}",
            api.pipelines.pipeline_service_create_pipeline,
            pipeline=kfp_server_api.V2beta1Pipeline(display_name=package.name, namespace=api.namespace),
            already=find,
        ),
    )
    name = f"{package.name}-{package.digest}"
    version = _find_or_make(
        lambda: _find_version(api, pipeline.pipeline_id, name),
        lambda find: api.call(
            f"upload the pipeline {name}",
            api.uploads.upload_pipeline_version,
            uploadfile=str(package.path),
            name=name,
            pipelineid=pipeline.pipeline_id,
            already=find,
        ),
    )
    return experiment.experiment_id, kfp_server_api.V2beta1PipelineVersionReference(
        pipeline_id=pipeline.pipeline_id, pipeline_version_id=version.pipeline_version_id
    )


def find_experiment(api: KubeflowApi) -> Any:
    """The experiment of the settings, or None."""
    answer = api.call(
        "list the experiments",
        api.experiments.experiment_service_list_experiments,
        filter=equals("display_name", api.config.experiment),
        **_in_namespace(api),
    )
    return _only(answer.experiments)


def _in_namespace(api: KubeflowApi) -> dict[str, Any]:
    """The namespace argument of a list request, in multi-user installations."""
    return {"namespace": api.namespace} if api.namespace else {}


def equals(key: str, value: str) -> str:
    """A filter of the API: backend/api/v2beta1/filter.proto."""
    return json.dumps({"predicates": [{"operation": "EQUALS", "key": key, "string_value": value}]})


def _find_pipeline(api: KubeflowApi, name: str) -> Any:
    answer = api.call(
        "list the pipelines",
        api.pipelines.pipeline_service_list_pipelines,
        filter=equals("display_name", name),
        **_in_namespace(api),
    )
    return _only(answer.pipelines)


def _find_version(api: KubeflowApi, pipeline_id: str, name: str) -> Any:
    answer = api.call(
        "list the pipeline's versions",
        api.pipelines.pipeline_service_list_pipeline_versions,
        pipeline_id=pipeline_id,
        filter=equals("display_name", name),
    )
    return _only(answer.pipeline_versions)


def _only(found: list[Any] | None) -> Any:
    return found[0] if found else None


def _find_or_make(find: Callable[[], Any], make: Callable[[Callable[[], Any]], Any]) -> Any:
    """The result of `find`, or else of `make`, unless another process creates the object first."""
    found = find()
    if found is not None:
        return found
    try:
        return make(find)
    except TargetError as error:
        found = find() if status_of(error) == 409 else None
        if found is None:
            raise
        return found
