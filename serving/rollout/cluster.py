"""The calls that a rollout makes to a Kubernetes API server, each with a time-out and bounded retries; their errors."""

from __future__ import annotations

import json
import shlex
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from serving.manifests import Object
from serving.rollout.connection import timed_client
from slipway.errors import ClusterError
from slipway.remote.retries import TRANSIENT_STATUSES, retrying, tried

_T = TypeVar("_T")

MANAGER = "slipway-rollout"
_LONGEST_PAUSE_SECONDS = 8.0  # a lease has to be renewed meanwhile
_AGAIN = "Run it again once the cluster responds: it resumes"
_API_VERSIONS = {
    "Deployment": "apps/v1",
    "ReplicaSet": "apps/v1",
    "Lease": "coordination.k8s.io/v1",
    "Job": "batch/v1",
}
# Statuses that a pod, or a proxy in front of it, returns temporarily.
_POD_TRANSIENT = {502, 503, 504}
# How an apply whose object does not fit the schema is answered, with 500
# (staging/src/k8s.io/apimachinery/pkg/util/managedfields/internal/structuredmerge.go).
_NOT_IN_SCHEMA = ("failed to create typed patch object", "failed to convert new")


class StaleError(Exception):
    """An object changed between a read and a write; the caller reads it again."""


class NotFoundError(ClusterError):
    """There is no such object."""


class PodAnswerError(ClusterError):
    """A pod, not the API server, answered with an error."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class TransientError(ClusterError):
    """The next attempt may succeed.

    Attributes:
        advice: What to do when all attempts have failed.
        retry_after: The pause in seconds that the server asks for.
    """

    def __init__(self, message: str, advice: str = _AGAIN, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.advice = advice
        self.retry_after = retry_after


@dataclass
class Cluster:
    """One namespace of a cluster, used in a `with` block.

    Attributes:
        namespace: Namespace of all objects.
        address: The cluster, as `timed_client` accepts it.
        attempts: Attempts for a request that times out or is answered by 429 or 5xx; 9 outlast 40 seconds.
        timeout: Seconds to connect, and to wait for an answer; integers, as the client drops a fraction without a word.
        pause: Sleeps between attempts.
        rights: What to do about a right that is missing.
    """

    namespace: str
    address: str = ""
    _: KW_ONLY
    attempts: int = 9
    timeout: tuple[int, int] = (5, 20)
    pause: Callable[[float], None] = time.sleep
    rights: str = "manifests/rollout-access has the rights that a rollout needs"
    _open: ExitStack = field(init=False, repr=False)
    _dynamic: Any = field(init=False, repr=False)
    _granted: set[str] = field(default_factory=set, init=False, repr=False)  # what was answered before

    @property
    def kubectl(self) -> str:
        """The beginning of a command that asks the same namespace."""
        is_context = self.address and not self.address.startswith("projects/")
        context = f" --context {shlex.quote(self.address)}" if is_context else ""
        return f"kubectl{context} --namespace {self.namespace}"

    def advice(self, message: str) -> str:
        """What to do about a refusal that the server explains in these words; empty if nothing is known."""
        if "exceeded quota" in message:
            return f"canary and surge count, too; free some or raise it: {self.kubectl} describe resourcequota"
        return ""

    def __enter__(self) -> Cluster:
        from kubernetes.dynamic import DynamicClient

        with ExitStack() as opened:
            folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="slipway-")))
            client = timed_client(self.address, self.timeout, folder)
            opened.callback(client.close)
            # The default is a predictable path in the system's temporary folder, which any user could create.
            cache = str(folder / "discovery.json")
            self._dynamic = self._try("connect", lambda: DynamicClient(client, cache_file=cache))
            self._open = opened.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def get(self, kind: str, name: str) -> Object | None:
        """An object, or None if there is none of this name."""
        with suppress(NotFoundError):
            return self._call("get", kind, name, name=name)
        return None

    def list(self, kind: str, labels: Mapping[str, str]) -> list[Object]:
        """Objects that carry all these labels."""
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        return list(self._call("list", kind, selector, "get", label_selector=selector)["items"])

    def apply(self, wanted: Object, *, force: bool = False, dry_run: bool = False) -> Object:
        """Server-side apply under our own field manager.

        Args:
            wanted: All fields that we manage; fields that an earlier apply set and this one lacks are removed.
            force: Take fields over from other managers.
            dry_run: Return what would be, and change nothing.

        Raises:
            ClusterError: another manager owns one of the fields with another value; or the server refuses the object.
        """
        options = {"field_manager": MANAGER, "force_conflicts": force or None, "dry_run": "All" if dry_run else None}
        kind, name, version = wanted["kind"], wanted["metadata"]["name"], wanted["apiVersion"]
        return self._call("apply", kind, name, "server_side_apply", version, body=wanted, **options)

    def would_change(self, wanted: Object, *, force: bool = False) -> bool:
        """Whether `apply` would change more than the server's bookkeeping; raises as `apply` does."""

        def content(each: Object) -> Object:
            metadata = {key: each["metadata"].get(key) for key in ("labels", "annotations")}
            return each | {"metadata": metadata, "status": None}

        live = self.get(wanted["kind"], wanted["metadata"]["name"])
        return live is None or content(live) != content(self.apply(wanted, force=force, dry_run=True))

    def create(self, new: Object) -> None:
        """Creates an object; raises `StaleError` if there is one of this name."""
        self._call("create", new["kind"], new["metadata"]["name"], body=new)

    def replace(self, changed: Object) -> None:
        """Updates an object that was read before; raises `StaleError` if it was changed in between."""
        self._call("replace", changed["kind"], changed["metadata"]["name"], body=changed)

    def delete(self, kind: str, name: str, api_version: str = "") -> None:
        """Deletes an object and its dependents, if it exists."""
        with suppress(NotFoundError):
            body = {"propagationPolicy": "Background"}
            self._call("delete", kind, name, api_version=api_version, name=name, body=body)

    def identity(self) -> str:
        """The name by which the API server knows this account; empty where it does not say, as before Kubernetes 1.28.

        https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/self-subject-review-v1/
        """
        path, kind = "/apis/authentication.k8s.io/v1/selfsubjectreviews", "SelfSubjectReview"
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": kind}
        try:
            answer = self._try("review", lambda: self._dynamic.request("post", path, body=body, serialize=False).data)
            return str(json.loads(answer)["status"]["userInfo"]["username"])
        except (ClusterError, StaleError, ValueError, KeyError, TypeError):
            return ""

    def log(self, pod: str, container: str, *, previous: bool = False) -> str:
        """The last lines of a container's log, or of its `previous` instance; empty if there are none."""
        query = [("container", container), ("tailLines", 20), *([("previous", "true")] if previous else [])]
        with suppress(ClusterError):
            return self._ask("logs", "get", f"pods/{pod}/log", query_params=query).decode(errors="replace").strip()
        return ""

    def ask(self, pod: str, port: int, path: str, body: Object | None = None) -> bytes:
        """Response of a pod to an HTTP request through the API server; raises `PodAnswerError` if it is an error."""
        return self._ask("ask", "get" if body is None else "post", f"pods/{pod}:{port}/proxy{path}", body=body)

    def _call(
        self, verb: str, kind: str, which: str, method: str = "", api_version: str = "", **parameters: Any
    ) -> Object:
        version = api_version or _API_VERSIONS.get(kind, "v1")

        def send() -> Any:
            resource = self._dynamic.resources.get(api_version=version, kind=kind)
            # The body is read with the answer: it may break off, too.
            return getattr(resource, method or verb)(namespace=self.namespace, serialize=False, **parameters).data

        content: Object = json.loads(self._try(f"{verb} {kind} {which}", send))
        return content

    def _ask(self, verb: str, method: str, path: str, **parameters: Any) -> bytes:
        full = f"/api/v1/namespaces/{self.namespace}/{path}"
        body: bytes = self._try(
            f"{verb} {path}", lambda: self._dynamic.request(method, full, serialize=False, **parameters).data
        )
        return body

    def _try(self, what: str, send: Callable[[], _T]) -> _T:
        from kubernetes.client.exceptions import ApiException
        from kubernetes.dynamic.exceptions import ResourceNotFoundError
        from urllib3.exceptions import HTTPError

        right = " ".join(what.split()[:2]).partition("/")[0]  # verb and kind

        def once() -> _T:
            try:
                answer = send()
            except ResourceNotFoundError as error:
                raise ClusterError(f"{what}: the cluster does not know this kind of object: {error}") from error
            except ApiException as error:
                if error.status in {404, 409}:
                    self._granted.add(right)
                raise self._translated(what, right, error) from error
            except (HTTPError, OSError) as error:
                raise TransientError(f"{what}: the API server does not answer: {error}") from error
            self._granted.add(right)
            return answer

        again = retrying(
            TransientError,
            attempts=self.attempts,
            longest_seconds=_LONGEST_PAUSE_SECONDS,
            asked_seconds=lambda error: getattr(error, "retry_after", None),
            pause=self.pause,
        )
        try:
            return again(once)
        except TransientError as error:
            raise ClusterError(f"{error}{tried(error)}. {error.advice}") from error

    def _translated(self, what: str, right: str, error: Any) -> Exception:
        """The error to raise for an `ApiException`, from its status and body."""
        body = error.body.decode(errors="replace") if isinstance(error.body, bytes) else str(error.body or error.reason)
        try:
            content = json.loads(body)
        except ValueError:
            content = None
        is_by_server = isinstance(content, dict) and content.get("kind") == "Status"
        message = " ".join(str(content.get("message", "")).split()) if is_by_server else body[:500]
        if not is_by_server and "/proxy" in what and error.status not in _POD_TRANSIENT:
            return PodAnswerError(f"{what}: {error.status}, {message}", error.status)
        if error.status == 0:  # the client's, of TLS (kubernetes/client/rest.py)
            return ClusterError(
                f"{what}: the API server's certificate is not of the kubeconfig's authority, or another one is wrong: "
                f"{' '.join(body.split())}. The cluster was made anew, or a proxy stands between: fetch its kubeconfig"
            )
        told = f"{what}: the API server answers {error.status}: {message}"
        if error.status == 404 and message.startswith("namespaces "):
            return ClusterError(
                f"{told}. manifests/rollout-access makes it, with the rights in it; alone: "
                f"{self.kubectl} create namespace {self.namespace}"
            )
        if error.status == 404:
            return NotFoundError(f"{what} in namespace {self.namespace}: {message}")
        if error.status == 409 and "FieldManagerConflict" not in body:
            # An apply carries no resourceVersion: the server itself met another write.
            return TransientError(f"{what}: {message}") if what.startswith("apply ") else StaleError(message)
        if error.status == 409:
            return ClusterError(
                f"{what}: {message}. Somebody edited these fields by hand: put the change into manifests/, or take the "
                "fields over with --force-conflicts"
            )
        if error.status in {401, 403}:
            return self._refused(f"{what}: {error.status}, {message}", right, message)
        if what.startswith("apply ") and (error.status in {400, 422} or message.startswith(_NOT_IN_SCHEMA)):
            return ClusterError(f"{told}. The object does not fit this cluster: correct it in manifests/")
        if error.status not in TRANSIENT_STATUSES:
            return ClusterError(told)
        asked = (error.headers or {}).get("Retry-After", "")
        return TransientError(told, retry_after=float(asked) if asked.isdigit() else None)

    def _refused(self, told: str, right: str, message: str) -> Exception:
        """The error of an answer 401 or 403."""
        if message == "Unauthorized":
            return ClusterError(
                f"{told}. The token is expired, or another cluster's: log in again, and look who you are: "
                f"{self.kubectl} auth whoami"
            )
        if "system:anonymous" in message:
            return ClusterError(f"{told}. No credentials were sent: has the kubeconfig's context a user? See: "
                                f"{self.kubectl} config view --minify")  # fmt: skip
        if "is being terminated" in message:
            gone = f"{self.kubectl} wait --for=delete namespace/{self.namespace} --timeout=5m"
            return ClusterError(f"{told}. Wait until it is gone, and make it anew: {gone}")
        if advice := self.advice(message):
            return ClusterError(f"{told}. {advice}")
        if right in self._granted or "not yet ready to handle request" in message:
            # A server that starts refuses everything until it has read the rules.
            return TransientError(told, self.rights)
        return ClusterError(f"{told}; {self.rights}")
