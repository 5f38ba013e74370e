"""The HTTP side of the fake API server: discovery, objects, logs, proxies, RBAC, and faults on demand."""

from __future__ import annotations

import base64
import json
import re
import ssl
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

import yaml

from tests.fakes.kubernetes.controller import Controller, Fate
from tests.fakes.kubernetes.objects import Object, Objects, RefusalError
from tests.fakes.kubernetes.patches import PATCHES

TOKEN, ACCOUNT = "the-runner's-token", "system:serviceaccount:kubeflow:slipway-pipeline"
# Its answer: SelfSubjectReview in staging/src/k8s.io/api/authentication/v1/types.go. All accounts have the right.
_REVIEW = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
# resource: group/version and kind
RESOURCES = {
    "configmaps": ("v1", "ConfigMap"),
    "secrets": ("v1", "Secret"),
    "services": ("v1", "Service"),
    "serviceaccounts": ("v1", "ServiceAccount"),
    "pods": ("v1", "Pod"),
    "deployments": ("apps/v1", "Deployment"),
    "replicasets": ("apps/v1", "ReplicaSet"),
    "jobs": ("batch/v1", "Job"),
    "leases": ("coordination.k8s.io/v1", "Lease"),
    "poddisruptionbudgets": ("policy/v1", "PodDisruptionBudget"),
    "horizontalpodautoscalers": ("autoscaling/v2", "HorizontalPodAutoscaler"),
    "networkpolicies": ("networking.k8s.io/v1", "NetworkPolicy"),
    "roles": ("rbac.authorization.k8s.io/v1", "Role"),
    "rolebindings": ("rbac.authorization.k8s.io/v1", "RoleBinding"),
    "prometheusrules": ("monitoring.coreos.com/v1", "PrometheusRule"),
    "namespaces": ("v1", "Namespace"),  # the one kind that is in no namespace
}
_PATH = re.compile(
    r"/(?:api/v1|apis/(?P<group>[^/]+/[^/]+))/(?:namespaces/(?P<namespace>[^/]+)/)?(?P<resource>[a-z]+)"
    r"(?:/(?P<name>[^/]+)(?:/(?P<sub>log|proxy|token)(?P<rest>/.*)?)?)?"
)
_DISCOVERY = re.compile(r"/version|/apis?|/api/v1|/apis/[^/]+/[^/]+|/openapi/v3(/.*)?")


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that are killed, or give up, are what some tests are about."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


@dataclass
class Fault:
    """Answers the next `times` requests that match with `code`, after `seconds`; code 0 lets them through late.

    Attributes:
        matches: Part of `VERB path`.
        after: The request is carried out, and only its answer is lost.
        cut: The answer breaks off in the middle.
    """

    matches: str
    code: int
    times: int
    seconds: float = 0.0
    after: bool = False
    cut: bool = False
    message: str = "etcdserver: request timed out"


class KubernetesApi:
    """A server on a loopback port, with its controller. Use it in a `with` block."""

    def __init__(
        self, address: Callable[[Object], str], role: Object | None = None, certificate: Path | None = None
    ) -> None:
        self.objects = Objects()
        self.fates: dict[str, Fate] = {}
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        self.before: dict[str, Callable[[], object]] = {}
        self.asked: set[tuple[str, str, str]] = set()
        self.address = address
        self.controller = Controller(self.objects, self.fates)
        self.token = TOKEN
        self.certificate = certificate  # with its key; kubectl sends its token over TLS alone
        self.namespace: Literal["active", "terminating", "missing"] = "active"
        self._rules = role["rules"] if role else None
        self._unread_rules = 0
        self.is_up = False
        self._port = 0

    def __enter__(self) -> KubernetesApi:
        self.come_up()
        self.controller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.controller.stop()
        self.go_down()

    def come_up(self, *, unread_rules: int = 0) -> None:
        """Listens, on the port that it had; refuses the next `unread_rules` requests, as before RBAC is read."""
        self._unread_rules = unread_rules
        self._server = _Server(("127.0.0.1", self._port), self._handler())
        self._port = self._server.server_port
        if self.certificate:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(self.certificate)
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.is_up = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def go_down(self) -> None:
        """Refuses connections, and cuts those that are open."""
        self.is_up = False
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def come_up_again(self, *, unread_rules: int = 0) -> None:
        """Restarts."""
        self.go_down()
        self.come_up(unread_rules=unread_rules)

    def write_kubeconfig(self, path: Path) -> Path:
        cluster = {"server": f"{'https' if self.certificate else 'http'}://127.0.0.1:{self._port}"}
        if self.certificate:
            cluster["certificate-authority"] = str(self.certificate)
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "fake",
            "clusters": [{"name": "fake", "cluster": cluster}],
            "users": [{"name": "runner", "user": {"token": TOKEN}}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "runner"}}],
        }
        path.write_text(yaml.safe_dump(content))
        return path

    def fail(
        self,
        matches: str,
        code: int,
        times: int = 1,
        seconds: float = 0.0,
        *,
        after: bool = False,
        cut: bool = False,
        message: str = "",
    ) -> None:
        self.faults.append(Fault(matches, code, times, seconds, after, cut, message or Fault.message))

    def forbid(self, verb: str, resource: str) -> None:
        """Takes a right out of the Role."""
        self._rules = [
            rule | {"verbs": [one for one in rule["verbs"] if resource not in rule["resources"] or one != verb]}
            for rule in self._rules or []
        ]

    def become_administrator(self) -> None:
        """Grants everything."""
        self._rules = None

    def _answer(self, method: str, target: str, body: bytes, headers: Any) -> tuple[int, bytes, bool]:
        """Status and body of an answer, and whether it breaks off."""
        url = urlsplit(target)
        for part in [part for part in self.before if part in url.path]:
            self.before.pop(part)()
        fault = next((one for one in self.faults if one.times > 0 and one.matches in f"{method} {url.path}"), None)
        if fault:
            fault.times -= 1
            if fault.after:
                self._serve(method, url.path, parse_qs(url.query), body, headers)
            time.sleep(fault.seconds)
            if fault.code:
                return fault.code, RefusalError(fault.code, "Fault", fault.message).body(), fault.cut
        return *self._serve(method, url.path, parse_qs(url.query), body, headers), bool(fault and fault.cut)

    def _serve(
        self, method: str, path: str, query: dict[str, list[str]], body: bytes, headers: Any
    ) -> tuple[int, bytes]:
        try:
            self._authenticate(headers)
            if method == "GET" and _DISCOVERY.fullmatch(path):
                return 200, json.dumps(_discover(path)).encode()
            if (method, path) == ("POST", _REVIEW):
                return 201, json.dumps(json.loads(body) | {"status": {"userInfo": {"username": ACCOUNT}}}).encode()
            return self._resource(method, _address(path), {key: one[0] for key, one in query.items()}, body, headers)
        except RefusalError as refusal:
            return refusal.code, refusal.body()

    def _resource(self, method: str, found: Any, query: dict[str, str], body: bytes, headers: Any) -> tuple[int, bytes]:
        namespace, resource, name, sub = found["namespace"] or "", found["resource"], found["name"], found["sub"]
        kind = RESOURCES[resource][1]
        verb = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}.get(method, "get")
        verb = "list" if verb == "get" and not name else verb
        self._authorize(verb, found["group"] or "v1", f"{resource}/{sub}" if sub else resource)
        if sub == "proxy":
            return self._proxy(method, namespace, name, found["rest"] or "/", body)
        if sub == "log":
            self.objects.get("Pod", namespace, name)
            return 200, self.controller.crash.log.encode()
        if sub == "token":  # TokenRequest: staging/src/k8s.io/api/authentication/v1/types.go
            self.objects.get("ServiceAccount", namespace, name)
            status = {"token": base64.b64encode(body).decode(), "expirationTimestamp": None}  # the body is protobuf
            version = "authentication.k8s.io/v1"
            return 201, json.dumps({"kind": "TokenRequest", "apiVersion": version, "status": status}).encode()
        if verb == "list":
            wanted = dict(pair.split("=") for pair in query.get("labelSelector", "").split(",") if pair)
            items = self.objects.list(kind, namespace, wanted)
            field, _, value = query.get("fieldSelector", "").partition("=")
            assert field in ("", "metadata.name"), field
            items = [one for one in items if not field or one["metadata"]["name"] == value]
            answer: Object = {
                "kind": f"{kind}List",
                "apiVersion": RESOURCES[resource][0],
                "metadata": {},
                "items": items,
            }
        elif verb == "get":
            answer = self.objects.get(kind, namespace, name)
        elif verb == "delete":
            answer = self.objects.delete(kind, namespace, name)
        else:
            sent = json.loads(body)
            if patch := PATCHES.get(headers.get("Content-Type")):
                sent = patch(self.objects.get(kind, namespace, name), sent)
            _check_names(sent, kind, namespace, name)
            is_new = verb == "create" or not self.objects.has(kind, namespace, sent["metadata"]["name"])
            self._admit("create" if is_new else verb, namespace, resource, sent["metadata"]["name"])
            if verb == "create":
                answer = self.objects.create(sent, "OpenAPI-Generator")
            elif verb == "update":
                answer = self.objects.replace(sent, "OpenAPI-Generator")
            elif patch:  # by default the manager is the program's name
                answer = self.objects.replace(sent, query.get("fieldManager", "kubectl"))
            else:
                answer = self._apply(sent, namespace, query, headers, found)
        return 200, json.dumps(answer).encode()

    def _apply(self, sent: Object, namespace: str, query: dict[str, str], headers: Any, found: Any) -> Object:
        if headers.get("Content-Type") != "application/apply-patch+yaml":
            raise RefusalError(415, "UnsupportedMediaType", "this server takes no strategic merge patch")
        if not query.get("fieldManager"):
            raise RefusalError(
                422, "Invalid", "PatchOptions.meta.k8s.io is invalid: fieldManager: is required for apply patch"
            )
        if not self.objects.has(sent["kind"], namespace, sent["metadata"]["name"]):
            self._authorize("create", found["group"] or "v1", found["resource"])
        force, dry_run = query.get("force", "").lower() == "true", query.get("dryRun") == "All"
        return self.objects.apply(sent, query["fieldManager"], force=force, dry_run=dry_run)

    def _authenticate(self, headers: Any) -> None:
        """No credentials are the user system:anonymous; others than the cluster's are refused."""
        given = headers.get("Authorization")
        if given is None:
            raise RefusalError(403, "Forbidden", 'forbidden: User "system:anonymous" cannot get path "/version"')
        if given != f"Bearer {self.token}":
            raise RefusalError(401, "Unauthorized", "Unauthorized")

    def _admit(self, verb: str, namespace: str, resource: str, name: str) -> None:
        """staging/src/k8s.io/apiserver/pkg/admission/plugin/namespace/lifecycle/admission.go."""
        if self.namespace == "missing":
            raise RefusalError(404, "NotFound", f'namespaces "{namespace}" not found')
        if self.namespace == "terminating" and verb == "create":
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            raise RefusalError(403, "Forbidden", f'{resource} "{name}" is forbidden: {why}')

    def _authorize(self, verb: str, group_version: str, resource: str) -> None:
        group = group_version.rpartition("/")[0]
        self.asked.add((verb, group, resource))
        if self._rules is None:
            return
        starts = self._unread_rules > 0
        self._unread_rules -= starts
        if starts or not any(
            verb in rule["verbs"] and group in rule["apiGroups"] and resource in rule["resources"]
            for rule in self._rules
        ):
            message = (
                f'{resource} is forbidden: User "runner" cannot {verb} resource "{resource}" in API group "{group}"'
            )
            raise RefusalError(403, "Forbidden", message)

    def _proxy(self, method: str, namespace: str, name: str, path: str, body: bytes) -> tuple[int, bytes]:
        pod_name, _, port = name.partition(":")
        pod = self.objects.get("Pod", namespace, pod_name)
        ports = [one["containerPort"] for container in pod["spec"]["containers"] for one in container.get("ports", [])]
        if int(port) not in ports:
            return 503, f"error trying to reach service: dial tcp 10.0.0.1:{port}: connect: connection refused".encode()
        served = pod["metadata"]["labels"]["app.kubernetes.io/version"]
        request = urllib.request.Request(self.address(pod) + path, data=body or None, method=method)
        request.add_header("X-Served-Version", served)
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def handle_any(self) -> None:
                if not api.is_up:
                    self.close_connection = True
                    return
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                api.requests.append(f"{self.command} {self.path}")
                code, answer, cut = api._answer(self.command, self.path, body, self.headers)
                try:
                    self.send_response(code)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(answer)))
                    self.end_headers()
                    self.wfile.write(answer[: len(answer) // 2] if cut else answer)
                    self.close_connection = self.close_connection or cut
                except OSError:
                    self.close_connection = True  # the client gave up

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815

            def log_message(self, *_: Any) -> None: ...

        return Handler


def _address(path: str) -> re.Match[str]:
    found = _PATH.fullmatch(path)
    if (
        not found
        or RESOURCES.get(found["resource"], ("",))[0] != (found["group"] or "v1")
        or (found["resource"] == "namespaces") == bool(found["namespace"])
    ):
        raise RefusalError(404, "NotFound", "the server could not find the requested resource")
    return found


def _check_names(sent: Object, kind: str, namespace: str, name: str | None) -> None:
    metadata = sent.get("metadata", {})
    if namespace:
        metadata.setdefault("namespace", namespace)
    if (
        sent.get("kind") != kind
        or metadata.get("namespace", "") != namespace
        or (name and metadata.get("name") != name)
    ):
        raise RefusalError(400, "BadRequest", "the name, namespace or kind of the object does not match the URL")


def _discover(path: str) -> Object:
    if path == "/version":
        return {"major": "1", "minor": "36", "gitVersion": "v1.36.0"}
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        versions = sorted({version for version, _ in RESOURCES.values() if "/" in version})
        groups = []
        for one in versions:
            entry = {"groupVersion": one, "version": one.partition("/")[2]}
            groups.append({"name": one.partition("/")[0], "versions": [entry], "preferredVersion": entry})
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
    if path.startswith("/openapi/v3"):
        return _openapi(path.removeprefix("/openapi/v3").lstrip("/"))
    version = path.removeprefix("/apis/").removeprefix("/api/")
    resources = [
        {
            "name": name,
            "singularName": "",
            "namespaced": name != "namespaces",
            "kind": kind,
            "verbs": ["get", "list", "create", "update", "patch", "delete"],
        }
        for name, (its_version, kind) in RESOURCES.items()
        if its_version == version
    ]
    if not resources:
        raise RefusalError(404, "NotFound", "the server could not find the requested resource")
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources}


def _openapi(version: str) -> Object:
    """What kubectl asks before it creates: that this server validates (`QueryParamVerifierV3` of cli-runtime)."""
    groups = {f"{'apis' if '/' in one else 'api'}/{one}": one for one, _ in RESOURCES.values()}
    if not version:
        return {"paths": {name: {"serverRelativeURL": f"/openapi/v3/{name}"} for name in groups}}
    group, _, number = groups[version].rpartition("/")
    paths = {}
    for resource, (its_version, kind) in RESOURCES.items():
        if its_version == groups[version]:
            patch = {
                "parameters": [{"name": "fieldValidation", "in": "query"}],
                "responses": {},
                "x-kubernetes-group-version-kind": {"group": group, "version": number, "kind": kind},
            }
            paths[f"/{version}/{resource}/{{name}}"] = {"patch": patch}
    return {"openapi": "3.0.0", "info": {"title": "fake", "version": number}, "paths": paths}
