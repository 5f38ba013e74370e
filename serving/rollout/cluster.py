"""The calls that a rollout makes to a Kubernetes API server: each with a time-out and bounded retries."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from tenacity import Retrying

from serving.rollout.api_errors import NotFoundError, OwnedError, StaleError, TransientError, api_error
from serving.rollout.connection import timed_client
from slipway.errors import ClusterError
from slipway.remote.retries import retrying, tried

Object = dict[str, Any]
_T = TypeVar("_T")

MANAGER = "slipway-rollout"
# Seconds to connect, and to wait for an answer. Integers: the client drops a fraction without a word.
_TIMEOUT = (5, 20)
_ATTEMPTS = 5
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 8.0
_API_VERSIONS = {"Deployment": "apps/v1", "ReplicaSet": "apps/v1", "Lease": "coordination.k8s.io/v1"}


class Cluster:
    """One namespace of a cluster, used in a `with` block.

    Args:
        namespace: Namespace of all objects.
        address: The cluster, as `timed_client` accepts it.
        attempts: Attempts for a request that times out or is answered by 429 or 5xx.
        timeout: Seconds to connect and seconds to wait for an answer.
        pause: Sleeps between attempts.
    """

    def __init__(
        self,
        namespace: str,
        address: str = "",
        *,
        attempts: int = _ATTEMPTS,
        timeout: tuple[int, int] = _TIMEOUT,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.namespace = namespace
        self._address = address
        self._attempts = attempts
        self._timeout = timeout
        self._pause = pause
        self._open = ExitStack()
        self._dynamic: Any = None

    def __enter__(self) -> Cluster:
        with ExitStack() as opened:
            folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="slipway-")))
            client = timed_client(self._address, self._timeout, folder)
            opened.callback(client.close)

            def connect() -> Any:
                from kubernetes.dynamic import DynamicClient

                # The default is a predictable path in the system's temporary folder, which any user could create.
                return DynamicClient(client, cache_file=str(folder / "discovery.json"))

            self._dynamic = self._try("connect", connect)
            self._open = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def get(self, kind: str, name: str) -> Object | None:
        """An object, or None if there is none of this name."""
        try:
            return _json(self._call("get", kind, name, lambda it: it.get(name=name, **self._common)))
        except NotFoundError:
            return None

    def list(self, kind: str, labels: Mapping[str, str]) -> list[Object]:
        """Objects that carry all these labels."""
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        found = _json(self._call("list", kind, selector, lambda it: it.get(label_selector=selector, **self._common)))
        return list(found["items"])

    def apply(self, wanted: Object, *, force: bool = False) -> Object:
        """Server-side apply under our own field manager.

        Args:
            wanted: All fields that we manage; fields that an earlier apply set and this one lacks are removed.
            force: Take fields over from other managers.

        Raises:
            ClusterError: another manager owns one of the fields with another value; or the server refuses the object.
        """
        return self._apply(wanted, force_conflicts=force or None)

    def would_change(self, wanted: Object, *, force: bool = False) -> bool:
        """Whether `apply` would change more than the server's bookkeeping; raises as `apply` does."""
        live = self.get(wanted["kind"], wanted["metadata"]["name"])
        return live is None or _content(live) != _content(
            self._apply(wanted, force_conflicts=force or None, dry_run="All")
        )

    def create(self, new: Object) -> Object:
        """Creates an object.

        Raises:
            StaleError: there is an object of this name.
        """
        kind, name = new["kind"], new["metadata"]["name"]
        return _json(self._call("create", kind, name, lambda it: it.create(body=new, **self._common)))

    def replace(self, changed: Object) -> Object:
        """Updates an object that was read before.

        Raises:
            StaleError: it was changed in between.
        """
        kind, name = changed["kind"], changed["metadata"]["name"]
        return _json(self._call("replace", kind, name, lambda it: it.replace(body=changed, **self._common)))

    def delete(self, kind: str, name: str) -> None:
        """Deletes an object and its dependents; a missing one is no error."""
        try:
            self._call("delete", kind, name, lambda it: it.delete(
                name=name, body={"propagationPolicy": "Background"}, **self._common))  # fmt: skip
        except NotFoundError:
            return

    def logs(self, pod: str, container: str, *, previous: bool, lines: int) -> str:
        """The last lines of the log of a container, or of its previous instance; empty if there is none."""
        query = [("container", container), ("tailLines", lines), ("previous", str(previous).lower())]
        try:
            return self._request("get", f"pods/{pod}/log", "logs", query_params=query).decode(errors="replace")
        except ClusterError:
            return ""

    def ask(self, pod: str, port: int, path: str, body: Object | None = None) -> bytes:
        """Response of a pod to an HTTP request through the API server, which also works from outside the cluster.

        Raises:
            PodAnswerError: the pod responds with an error.
            ClusterError: it cannot be reached.
        """
        return self._request("get" if body is None else "post", f"pods/{pod}:{port}/proxy{path}", "ask", body=body)

    def _apply(self, wanted: Object, **options: Any) -> Object:
        kind, name = wanted["kind"], wanted["metadata"]["name"]

        def send(resource: Any) -> Any:
            return resource.server_side_apply(body=wanted, field_manager=MANAGER, **options, **self._common)

        try:
            # The request carries no resourceVersion: on StaleError the server itself met another write.
            again = self._retrying(StaleError)
            return _json(again(self._call, "apply", kind, name, send, wanted["apiVersion"]))
        except StaleError as error:
            raise ClusterError(f"{kind} {name} was changed by others meanwhile{tried(error)}; run it again") from error
        except OwnedError as error:
            raise ClusterError(
                f"{kind} {name}: {error}. Somebody changed by hand what the manifests say: put the change into "
                "manifests/, or take the fields over with --force-conflicts"
            ) from error

    @property
    def _common(self) -> dict[str, Any]:
        return {"namespace": self.namespace, "serialize": False}

    def _call(self, verb: str, kind: str, name: str, send: Callable[[Any], Any], api_version: str = "") -> bytes:
        version = api_version or _API_VERSIONS.get(kind, "v1")
        body: bytes = self._try(
            f"{verb} {kind} {name}",
            lambda: send(self._dynamic.resources.get(api_version=version, kind=kind)).data,
        )
        return body

    def _request(self, method: str, path: str, verb: str, **parameters: Any) -> bytes:
        full = f"/api/v1/namespaces/{self.namespace}/{path}"
        what = f"{verb} {path}"
        body: bytes = self._try(what, lambda: self._dynamic.request(method, full, serialize=False, **parameters).data)
        return body

    def _try(self, what: str, send: Callable[[], _T]) -> _T:
        from kubernetes.client.exceptions import ApiException
        from kubernetes.dynamic.exceptions import ResourceNotFoundError
        from urllib3.exceptions import HTTPError

        def once() -> _T:
            try:
                return send()
            except ResourceNotFoundError as error:
                raise ClusterError(f"{what}: the cluster knows no such kind of object: {error}") from error
            except ApiException as error:
                raise api_error(what, self.namespace, error) from error
            except (HTTPError, OSError) as error:
                raise TransientError(f"{what}: the API server does not answer: {error}") from error

        try:
            return self._retrying(TransientError)(once)
        except TransientError as error:
            raise ClusterError(f"{error}{tried(error)}. Run it again when the cluster is well: it goes on") from error

    def _retrying(self, transient: type[Exception]) -> Retrying:
        return retrying(
            transient,
            attempts=self._attempts,
            first_seconds=_FIRST_PAUSE_SECONDS,
            longest_seconds=_LONGEST_PAUSE_SECONDS,
            asked_seconds=lambda error: getattr(error, "retry_after", None),
            pause=self._pause,
        )


def _json(body: bytes) -> Object:
    content: Object = json.loads(body)
    return content


def _content(each: Object) -> Object:
    """An object without the fields that the server maintains."""
    kept = {key: value for key, value in each.items() if key not in {"metadata", "status"}}
    return kept | {key: each["metadata"].get(key) for key in ("labels", "annotations")}
