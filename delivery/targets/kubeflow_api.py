"""Connection to Kubeflow Pipelines by kfp_server_api, the client of its REST API `/apis/v2beta1`.

`kfp.Client`, which wraps it, reads and writes `~/.config/kfp/context.json`, prints links, and has neither time-outs nor
labels.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import re
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import kfp_server_api
import yaml
from urllib3.exceptions import ConnectTimeoutError, HTTPError, ReadTimeoutError

from delivery.targets.base import Submission, label_value, owner
from delivery.targets.connection import KubeflowConfig
from delivery.targets.kubeflow_workflow import Node
from slipway.errors import ConfigError, NotificationError, TargetError
from slipway.platforms.connection import Connection
from slipway.remote.retries import TRANSIENT_STATUSES
from slipway.runs.notifications.secret import read_secret

log = logging.getLogger(__name__)

_PAGE = 100
# The first version that tells the exit handler the run's id and state, and the first with `PipelineConfig`'s limits
# and with tags, which earlier ones refuse as unknown fields (api/v2alpha1/pipeline_spec.proto, v2beta1/pipeline.proto).
_LEAST, _LIMITS = (2, 14), (2, 17)
# Where a pod finds the token that Kubeflow's PodDefault `access-ml-pipeline` projects into it.
_SERVICE_ACCOUNT_TOKEN = "/var/run/secrets/kubeflow/pipelines/token"  # noqa: S105 - a path
_LOG_ERROR = re.compile(r'\{"error_message":"\w+: Failed to read logs for run .*\}\s*\Z')
_LOGIN = (
    "kubeflow.auth says how to log in (token, cookie, service_account_token), kubeflow.credential_variable, "
    "credential_file or credential_secret where the secret is"
)


class KubeflowApi(Connection):
    """The services of the API, each called through `call`."""

    setting = "kubeflow"
    timeouts = (ConnectTimeoutError, ReadTimeoutError)
    lost = (HTTPError,)

    def __init__(self, config: KubeflowConfig) -> None:
        super().__init__(config.url, config.timeout_seconds)
        self.config = config
        configuration = kfp_server_api.Configuration(host=config.url)
        # Disables urllib3's retries: `call` retries, and a redirect leads to a login page.
        configuration.retries = False
        configuration.ssl_ca_cert = config.ca_file or None
        if config.auth in ("token", "service_account_token"):
            configuration.api_key["authorization"] = "read before each request"
            configuration.api_key_prefix["authorization"] = "Bearer"
            configuration.refresh_api_key_hook = self._refresh  # a projected token lives an hour
        cookie = self._credential() if config.auth == "cookie" else None
        self._client = kfp_server_api.ApiClient(configuration, cookie=cookie)
        self.experiments = kfp_server_api.ExperimentServiceApi(self._client)
        self.pipelines = kfp_server_api.PipelineServiceApi(self._client)
        self.runs = kfp_server_api.RunServiceApi(self._client)
        self._versions: dict[tuple[str, str], Any] = {}
        self.recurring_runs = kfp_server_api.RecurringRunServiceApi(self._client)

    @cached_property
    def takes_limits_and_tags(self) -> bool:
        """Whether the installation is one of 2.17 on; a warning says that it is not, or does not tell.

        Raises:
            TargetError: it is older than 2.14.
        """
        tag = str(self._health.get("tag_name", ""))
        found = re.match(r"v?(\d+)\.(\d+)", tag)
        version = (int(found[1]), int(found[2])) if found else None
        if version and version < _LEAST:
            raise TargetError(
                f"{self.url} is Kubeflow Pipelines {tag}, and Slipway needs 2.14 or later: an earlier one does not "
                "tell a run's last step which run it records, nor how it ended. Update Kubeflow"
            )
        if version and version >= _LIMITS:
            return True
        which = f"is Kubeflow Pipelines {tag}" if version else f"does not say its version (tag_name = {tag!r})"
        log.warning("%s %s: no limits of the run and no tags are sent, which need 2.17 or later", self.url, which)
        return False

    @cached_property
    def namespace(self) -> str | None:
        """The namespace to name in requests: a single-user installation refuses any.

        Raises:
            ConfigError: the installation has many users, and the settings name no namespace.
        """
        if not self._health.get("multi_user"):
            return None
        if not self.config.namespace:
            raise ConfigError(f"{self.url} serves many users: set kubeflow.namespace to your profile's namespace")
        return self.config.namespace

    def server_version(self) -> str:
        """The tag of the server's release, like 2.17.0; empty where a build of somebody's own says none."""
        tag = str(self._health.get("tag_name", ""))
        return "" if tag == "unknown" else tag

    @cached_property
    def _health(self) -> dict[str, Any]:
        """What the server says of itself: backend/src/apiserver/main.go. The generated model lacks `tag_name`."""
        answer = self.call(
            "look it up",
            self._client.call_api,
            resource_path="/apis/v2beta1/healthz",
            method="GET",
            response_type="object",
            auth_settings=["Bearer"],
            _return_http_data_only=True,
        )
        if not isinstance(answer, dict):
            raise TargetError(f"{self.url} does not answer as Kubeflow Pipelines does: is kubeflow.endpoint right?")
        return answer

    def find(self, kind: str, name: str, request: Callable[..., Any], **arguments: Any) -> list[Any]:
        """Objects of a display name, by a request that lists them; `kind` is the field of its answer."""
        # backend/api/v2beta1/filter.proto
        wanted = {"predicates": [{"operation": "EQUALS", "key": "display_name", "string_value": name}]}
        answer = self.call(f"list the {kind}", request, filter=json.dumps(wanted), **arguments)
        return getattr(answer, kind) or []

    def pages(self, kind: str, request: Callable[..., Any], **arguments: Any) -> Iterator[Any]:
        """All objects, page by page, by a request that lists them; `kind` is the field of its answer."""
        token: str | None = ""
        while token is not None:
            named = {"namespace": self.namespace, "page_size": _PAGE, "page_token": token, **arguments}
            answer = self.call(f"list the {kind.replace('_', ' ')}", request, **named)
            yield from getattr(answer, kind) or []
            token = answer.next_page_token or None

    def experiments_of_environment(self) -> list[Any]:
        """The experiments of this environment: the settings' own, else one for each module."""
        found = self.pages("experiments", self.experiments.experiment_service_list_experiments)
        if own := self.config.experiment:
            return [one for one in found if one.display_name == own]
        mark = as_text(owner(self.config.environment))
        return [one for one in found if (one.description or "").endswith(mark)]

    def upload(self, submission: Submission) -> tuple[str, Any]:
        """The id of the experiment, and a reference to the pipeline version of a submission.

        Each is created once, even if several processes submit at once. A version is named by the package's digest, so
        that what is there is not uploaded again.
        """
        current = self.takes_limits_and_tags
        package, lineage, environment = submission.package, submission.lineage, self.config.environment
        title = self.config.experiment or f"{lineage.module}-{label_value(environment)}"
        experiments = self.experiments.experiment_service_list_experiments
        mark = as_text(owner(environment))
        experiment = self._make_once(
            lambda: _first(self.find("experiments", title, experiments, namespace=self.namespace)),
            f"make the experiment {title}",
            self.experiments.experiment_service_create_experiment,
            experiment=kfp_server_api.V2beta1Experiment(
                display_name=title,
                description=f"Runs of {'all modules' if self.config.experiment else lineage.module}\n{mark}",
                namespace=self.namespace,
            ),
        )
        if is_archived(experiment):
            raise self.archived_error(experiment.display_name)
        pipelines = self.pipelines.pipeline_service_list_pipelines
        pipeline = self._make_once(
            lambda: _first(self.find("pipelines", package.name, pipelines, namespace=self.namespace)),
            f"make the pipeline {package.name}",
            self.pipelines.pipeline_service_create_pipeline,
            pipeline=kfp_server_api.V2beta1Pipeline(
                display_name=package.name,
                description=package.spec["pipelineInfo"].get("description"),
                namespace=self.namespace,
                tags={"managed-by": "slipway"} if current else None,
            ),
        )
        name, pipeline_id = version_name(submission), pipeline.pipeline_id
        labels = submission.labels(environment)
        tags = {"tags": json.dumps(labels)} if current else {}
        versions = self.pipelines.pipeline_service_list_pipeline_versions
        with TemporaryDirectory() as folder:
            file = package.path
            if not current:
                file = Path(folder) / "pipeline.yaml"
                file.write_text(without_limits(package.path.read_text(encoding="utf-8")), encoding="utf-8")
            version = self._make_once(
                lambda: _first(self.find("pipeline_versions", name, versions, pipeline_id=pipeline_id)),
                f"upload the pipeline {name}",
                kfp_server_api.PipelineUploadServiceApi(self._client).upload_pipeline_version,
                uploadfile=str(file),
                name=name,
                description=as_text(labels | {"module": lineage.module}),
                pipelineid=pipeline_id,
                **tags,
            )
        return experiment.experiment_id, kfp_server_api.V2beta1PipelineVersionReference(
            pipeline_id=pipeline_id, pipeline_version_id=version.pipeline_version_id
        )

    def archived_error(self, experiment: str) -> ConfigError:
        """For what would run in an archived experiment, where nobody looks: its recurring runs are disabled."""
        return ConfigError(
            f"the experiment {experiment} of {self.url} is archived: restore it in Kubeflow's UI (Experiments, "
            "Archived), or name another in kubeflow.experiment"
        )

    def version(self, reference: Any) -> Any:
        """A run's pipeline version; None if the run has none, or it was deleted."""
        if not (reference and reference.pipeline_version_id):
            return None
        ids = (reference.pipeline_id, reference.pipeline_version_id)
        if ids not in self._versions:
            request = self.pipelines.pipeline_service_get_pipeline_version
            self._versions[ids] = self.call("find the version of a run's pipeline", request, pipeline_id=ids[0],
                                            pipeline_version_id=ids[1], missing_ok=True)  # fmt: skip
        return self._versions[ids]

    def workflow(self, run_id: str) -> dict[str, Any]:
        """The Argo workflow of a run, as the persistence agent reported it last.

        API v2beta1 has its nodes as `task_details`, but without names of pods, reasons and what tells a cached step,
        and none at all once Argo compresses the workflow: `toModelTask`, backend/src/apiserver/server/api_converter.go.
        """
        path = f"/apis/v1beta1/runs/{run_id}"
        answer = json.loads(self.call(f"read the steps of the run {run_id}", self._get, path=path))
        workflow: dict[str, Any] = json.loads((answer.get("pipeline_runtime") or {}).get("workflow_manifest") or "{}")
        return workflow

    def log(self, run_id: str, pod: Node) -> str:
        """The log of a pod that runs or has ended, from the archive if it is deleted; else why there is none.

        The route of logs answers 200 before it looks, so an error comes as the end of the text
        (backend/src/apiserver/server/run_log_server.go). Before Kubeflow 2.17 it looks for archived logs in the wrong
        place (backend/src/apiserver/archive/log.go), where the route of artifacts finds them.
        """
        path = f"/apis/v1alpha1/runs/{run_id}/nodes/{pod.pod}/log"
        content = self.call(f"read the log of {pod.pod}", self._get, path=path, missing_ok=True)
        text = str(content or b"", "utf-8", "replace")
        failed = _LOG_ERROR.search(text)
        if content is not None and not failed:
            return text
        if pod.archived:
            path = f"/apis/v2beta1/runs/{run_id}/nodes/{pod.id}/artifacts/main-logs:read"
            archived = self.call(f"read the archived log of {pod.pod}", self._get, path=path, missing_ok=True)
            if archived:
                return str(base64.b64decode(json.loads(archived)["data"]), "utf-8", "replace")
        if failed:
            return f"{text[: failed.start()]}(no log of {pod.pod}: {json.loads(failed[0])['error_message']})"
        return self._log_by_ui(run_id, pod.pod)

    def _log_by_ui(self, run_id: str, pod: str) -> str:
        """The log of a pod where the server of the UI is the endpoint: it does not pass the API's route of logs on.

        frontend/server/app.ts and frontend/server/handlers/pod-logs.ts; it answers 404 or 500 for a pod that is gone.
        """
        query = {"podname": pod, "runid": run_id} | ({"podnamespace": self.namespace} if self.namespace else {})
        try:
            content = self.call(
                f"read the log of {pod}", self._get, path="/k8s/pod/logs", query_params=[*query.items()]
            )
        except TargetError as error:
            return f"(no log of {pod}: {error})"
        return str(content, "utf-8", "replace")

    def as_json(self, body: Any) -> dict[str, Any]:
        """An object of the API as it is sent."""
        content: dict[str, Any] = self._client.sanitize_for_serialization(body)
        return content

    def _make_once(self, find: Callable[[], Any], what: str, request: Callable[..., Any], **arguments: Any) -> Any:
        found = find()
        return self.call(what, request, already=find, **arguments) if found is None else found

    def _get(self, path: str, **options: Any) -> bytes:
        """The answer of a route that kfp_server_api lacks."""
        answer = self._client.call_api(path, "GET", auth_settings=["Bearer"], _preload_content=False, **options)
        content: bytes = answer.data
        return content

    def _refresh(self, configuration: Any) -> None:
        configuration.api_key["authorization"] = self._credential()

    def _credential(self) -> str:
        config = self.config
        if config.credential_variable:
            secret = os.environ.get(config.credential_variable, "")
            source = f"the variable {config.credential_variable} (kubeflow.credential_variable)"
        elif config.credential_secret:
            secret, source = self._secret, f"{config.credential_secret} (kubeflow.credential_secret)"
        else:
            path = Path(config.credential_file or _SERVICE_ACCOUNT_TOKEN)
            source = f"{path} (kubeflow.credential_file)"
            try:
                secret = path.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError):
                secret = ""
        if not secret or not secret.isprintable():
            raise ConfigError(f"{source} holds no {config.auth.replace('_', ' ')}; kubeflow.auth = {config.auth!r}")
        return secret

    @cached_property
    def _secret(self) -> str:
        """Fetched once: the hook asks before each request."""
        try:
            return read_secret(self.config.credential_secret, self.timeout_seconds)
        except NotificationError as error:
            raise ConfigError(f"kubeflow.credential_secret: {error}") from error

    def _send(self, request: Callable[..., Any], arguments: dict[str, Any]) -> Any:
        # Time-outs of the connection and of the answer.
        answer = request(**arguments, _request_timeout=(self.timeout_seconds, self.timeout_seconds))
        start = getattr(self._client.last_response, "data", b"")[:200]
        text = start if isinstance(start, str) else start.decode("utf-8", "replace")  # bytes by `_get`
        if text.lstrip().lower().startswith(("<!doctype html", "<html")):
            raise TargetError(f"{self.url} answers with a page instead of data: {_LOGIN}")
        return answer

    def _status(self, error: BaseException) -> int | None:
        """HTTP status; 0 for an untrusted certificate, whose error kfp_server_api fails to construct."""
        found = error.__context__ if isinstance(error, AttributeError) else error
        return getattr(found, "status", None)

    def _said(self, error: Any) -> str:
        """The server's message, from either of its two formats."""
        try:
            body = json.loads(error.body)
            text = body.get("message") or body.get("error_message") or body.get("error") or ""
        except (TypeError, ValueError, AttributeError):
            return ""
        return f" ({' '.join(str(text).split())[:300]})" if text else ""

    def _fix(self, status: int) -> str:
        namespace = self.config.namespace
        place = f"the namespace {namespace}" if namespace else "its namespace"
        fixes = dict.fromkeys(range(300, 400), _LOGIN) | {
            401: f"the credential is missing, wrong or expired: {_LOGIN}",
            403: f"the account may not do this in {place}: bind it to the cluster role kubeflow-pipelines-edit there, "
            "or name your own profile in kubeflow.namespace",
            404: f"is kubeflow.endpoint right? {self.url}/apis/v2beta1/healthz must answer with JSON",
            409: "another one of that name is in the way, archived perhaps: delete it in Kubeflow's UI, and try again",
        }
        fixes |= dict.fromkeys(TRANSIENT_STATUSES, "look at the logs of the deployment ml-pipeline, then try again")
        unknown = "the request does not suit this installation; Slipway speaks the API v2beta1 of Kubeflow Pipelines 2"
        return fixes.get(status, unknown)

    def _explain_connection(self, error: Exception) -> str:
        if self._status(error) == 0:
            return f"{self.url} has no certificate that is trusted here: set kubeflow.ca_file to its authority's"
        if isinstance(error, HTTPError):
            return (
                f"no connection to {self.url} ({type(error).__name__}): is kubeflow.endpoint right? From outside the "
                "cluster: kubectl port-forward -n kubeflow svc/ml-pipeline 8888:8888"
            )
        return f"{self.url} does not answer as Kubeflow Pipelines does ({error}): is kubeflow.endpoint right?"


def without_limits(compiled: str) -> str:
    """A compiled pipeline as installations before 2.17 take it."""
    spec, *platforms = yaml.load_all(compiled, Loader=yaml.CSafeLoader)
    for one in platforms:
        one["platforms"]["kubernetes"].pop("pipelineConfig", None)
    documents = [spec, *(one for one in platforms if one["platforms"]["kubernetes"])]
    return str(yaml.dump_all(documents, Dumper=yaml.CSafeDumper))


def is_archived(experiment: Any) -> bool:
    """Whether an experiment is archived; the server makes runs in it all the same."""
    return bool(experiment.storage_state == kfp_server_api.V2beta1ExperimentStorageState.ARCHIVED)


def version_name(submission: Submission) -> str:
    """Module, digest and Git revision: the UI's filter finds it, also in the name of a run that is started there."""
    revision = label_value(submission.lineage.git_revision)
    commit, _, dirty = revision.partition("-")
    return "-".join(filter(None, [submission.lineage.module, submission.package.digest[:12], commit[:12], dirty]))


def as_text(facts: dict[str, str]) -> str:
    """Facts as a description, since this API has no labels."""
    return "\n".join(f"{key}: {value}" for key, value in facts.items())


def _first(found: list[Any]) -> Any:
    return found[0] if found else None
