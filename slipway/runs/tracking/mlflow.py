"""MLflow by its REST API: experiments, runs and the model registry.

https://mlflow.org/docs/latest/api_reference/rest-api.html. MLflow's own client tries a dead server for four minutes and
sends telemetry; this one tries once, within a deadline.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any
from urllib.parse import quote, urlsplit

import requests
from requests.auth import HTTPBasicAuth

from slipway.errors import TrackingError
from slipway.runs.notifications.secret import read_secret
from slipway.runs.record import RunState
from slipway.runs.tracking.config import Tracking
from slipway.runs.tracking.tracker import Point, TrackedRun, TrackedVersion, Tracker

API, ARTIFACTS = "api/2.0/mlflow", "api/2.0/mlflow-artifacts/artifacts"
REQUEST_SECONDS = 10.0
# Limits of mlflow/utils/validation.py; the server cuts longer values without a word.
METRICS_A_CALL, OTHERS_A_CALL, NAME_LENGTH, PARAMETER_LENGTH, TAG_LENGTH = 1000, 100, 250, 6000, 8000
PAGE = 1000
RUN, ENDING, VERSION, STAGE = "slipway.run", "slipway.ending", "slipway.version", "slipway.stage"
# The keys of the tags that people gave the run, so that one that is removed is removed there, and no other.
GIVEN, NOTE = "slipway.tags", "mlflow.note.content"
_STATUSES: dict[RunState, str] = {"running": "RUNNING", "succeeded": "FINISHED", "cancelled": "KILLED"}

Json = dict[str, Any]


class MlflowTracker(Tracker):
    """One MLflow server. After `deadline`, in seconds of `time.monotonic`, nothing is asked any more."""

    def __init__(self, config: Tracking, deadline: float) -> None:
        self._config = config
        self._deadline = deadline
        self._session = requests.Session()
        self._session.trust_env = False  # a .netrc would replace the token
        self._session.proxies = requests.utils.get_environ_proxies(config.uri)
        self._session.verify = config.ca_file or True
        if config.token:
            token = read_secret(config.token, self._seconds())
            self._session.auth = HTTPBasicAuth(config.username, token) if config.username else _bearer(token)

    def has_run(self, experiment: str, run: TrackedRun) -> bool:
        found = self._find_experiment(experiment)
        known = self._find_run(found, run.name) if found else None
        if known is None:
            return False
        there, wanted = _tags(known["data"]), {ENDING: run.ending, **_given(run)}
        gone = _given_keys(there) - wanted.keys()
        return not gone and all(there.get(key) == _cut(value, TAG_LENGTH) for key, value in wanted.items())

    def write_run(self, experiment: str, run: TrackedRun) -> None:
        owner = self._find_experiment(experiment) or self._create_experiment(experiment)
        found = self._find_run(owner, run.name)
        if found is None:
            marks = [{"key": RUN, "value": run.name}]
            new = {"experiment_id": owner, "run_name": run.name, "start_time": _ms(run.started), "tags": marks}
            found = self._post("runs/create", new)["run"]
        info = found["info"]
        self._log(info["run_id"], "metrics", [_metric(point) for point in run.metrics], METRICS_A_CALL)
        self._log(info["run_id"], "params", _pairs(run.parameters, PARAMETER_LENGTH), OTHERS_A_CALL)
        for key in sorted(_given_keys(_tags(found.get("data", {}))) - _given(run).keys()):
            self._post("runs/delete-tag", {"run_id": info["run_id"], "key": key}, "RESOURCE_DOES_NOT_EXIST")
        self._log(info["run_id"], "tags", _pairs({**_given(run), **run.tags}, TAG_LENGTH), OTHERS_A_CALL)
        ended = {"status": _STATUSES.get(run.state, "FAILED"), "end_time": _ms(run.finished)}
        self._post("runs/update", {"run_id": info["run_id"], **ended})
        for name, content in run.files.items():
            self._upload(info["artifact_uri"], name, content)
        # Last of all: a run without it is written again.
        self._log(info["run_id"], "tags", _pairs({ENDING: run.ending}, TAG_LENGTH), OTHERS_A_CALL)

    def write_versions(self, model: str, versions: Sequence[TrackedVersion], aliases: Mapping[str, int | None]) -> None:
        known = {number: one for one in self._versions(model) if (number := _tags(one).get(VERSION))}
        if not versions and not known:
            return
        self._post("registered-models/create", {"name": model}, "RESOURCE_ALREADY_EXISTS")
        stages = {str(version.number): version.stage for version in versions}
        for version in versions:
            if str(version.number) not in known:
                known[str(version.number)] = self._create_version(model, version)
        for number, one in known.items():
            stage = stages.get(number, "deleted")
            if _tags(one).get(STAGE) != stage:
                mark = {"name": model, "version": one["version"], "key": STAGE, "value": stage}
                self._post("model-versions/set-tag", mark)
        # Searches answer no aliases.
        there = self._get("registered-models/get", {"name": model})["registered_model"].get("aliases", [])
        now = {one["alias"]: one["version"] for one in there}
        for alias, pinned in aliases.items():
            wanted = known[str(pinned)]["version"] if pinned else None
            if wanted is None and alias in now:
                self._ask("DELETE", f"{API}/registered-models/alias", json={"name": model, "alias": alias})
            elif wanted != now.get(alias):
                self._post("registered-models/alias", {"name": model, "alias": alias, "version": wanted})

    def _find_experiment(self, name: str) -> str | None:
        """Its id."""
        answer = self._get("experiments/get-by-name", {"experiment_name": name}, "RESOURCE_DOES_NOT_EXIST")
        return answer["experiment"]["experiment_id"] if answer else None

    def _create_experiment(self, name: str) -> str:
        created = self._post("experiments/create", {"name": name}, "RESOURCE_ALREADY_EXISTS")
        # Another run's end was faster.
        found: str | None = created["experiment_id"] if created else self._find_experiment(name)
        assert found is not None
        return found

    def _find_run(self, experiment: str, name: str) -> Json | None:
        search = f"tags.`{RUN}` = '{name}'"
        found = self._post("runs/search", {"experiment_ids": [experiment], "filter": search, "max_results": 1})
        return next(iter(found.get("runs", [])), None)

    def _log(self, run: str, kind: str, entries: list[Json], limit: int) -> None:
        for start in range(0, len(entries), limit):
            self._post("runs/log-batch", {"run_id": run, kind: entries[start : start + limit]})

    def _upload(self, artifacts: str, name: str, content: bytes) -> None:
        place = urlsplit(artifacts)  # mlflow-artifacts:/1/…, or with a host
        if place.scheme != "mlflow-artifacts":
            raise TrackingError(
                f"the experiment's files are at {artifacts}, which the server does not write to: start it with "
                "--serve-artifacts and --artifacts-destination, and use another experiment_prefix"
            )
        path = f"{place.path.strip('/')}/{name}"
        self._ask("PUT", f"{ARTIFACTS}/{quote(path)}", data=content)

    def _versions(self, model: str) -> Iterator[Json]:
        asked = {"filter": f"name='{model}'", "max_results": PAGE}
        while True:
            page = self._get("model-versions/search", asked)
            yield from page.get("model_versions", [])
            if not page.get("next_page_token"):
                return
            asked["page_token"] = page["next_page_token"]

    def _create_version(self, model: str, version: TrackedVersion) -> Json:
        experiment = self._find_experiment(model)
        run = self._find_run(experiment, version.run) if experiment else None
        tags = version.tags | {VERSION: str(version.number), RUN: version.run, STAGE: version.stage}
        new = {"name": model, "source": version.uri, "tags": _pairs(tags, TAG_LENGTH)}
        trained = {"run_id": run["info"]["run_id"]} if run else {}
        created: Json = self._post("model-versions/create", new | trained)["model_version"]
        return created

    def _get(self, path: str, query: Json, expected: str = "") -> Json:
        return self._ask("GET", f"{API}/{path}", expected, params=query)

    def _post(self, path: str, body: Json, expected: str = "") -> Json:
        return self._ask("POST", f"{API}/{path}", expected, json=body)

    def _ask(self, method: str, path: str, expected: str = "", **content: Any) -> Json:
        """One request, tried once; an `expected` error gives an empty answer. Redirects are not followed."""
        seconds = min(REQUEST_SECONDS, self._seconds())
        url = f"{self._config.uri.rstrip('/')}/{path}"
        try:
            answer = self._session.request(method, url, timeout=seconds, allow_redirects=False, **content)
        except requests.Timeout:
            if seconds < REQUEST_SECONDS:
                raise self._late() from None
            raise TrackingError(f"no answer within {seconds:.0f} s", outage=True) from None
        except (requests.RequestException, OSError) as error:
            raise TrackingError(_reason(error), outage=True) from None
        body = _body(answer)
        if answer.status_code == 200 and body is not None:
            return body
        if expected and (body or {}).get("error_code") == expected:
            return {}
        outage = answer.status_code >= 500 or answer.status_code == 429
        raise TrackingError(_refusal(answer, path, self._config), outage=outage)

    def _seconds(self) -> float:
        """Time that is left."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise self._late()
        return left

    def _late(self) -> TrackingError:
        limit = f"tracking.timeout_seconds = {self._config.timeout_seconds:g}"
        return TrackingError(f"not done within {limit}", outage=True)


def _bearer(token: str) -> Callable[[requests.PreparedRequest], requests.PreparedRequest]:
    def sign(request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {token}"
        return request

    return sign


def metric_name(name: str) -> str:
    """A name that the server takes: what it does not is replaced, and a digest keeps such names apart."""
    fit = "/".join(map(_part, name.split("/")))
    return fit if len(fit) <= NAME_LENGTH else f"{fit[: NAME_LENGTH - 9]} {_digest(name)}"


def _part(name: str) -> str:
    fit = re.sub(r"[^\w\-.: ]|^\.*$", "_", name)
    return name if fit == name else f"{fit} {_digest(name)}"


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:8]


def _metric(point: Point) -> Json:
    infinite = "Infinity" if point.value > 0 else "-Infinity"
    value = point.value if math.isfinite(point.value) else "NaN" if math.isnan(point.value) else infinite
    return {"key": metric_name(point.name), "value": value, "timestamp": _ms(point.when), "step": point.step}


def _pairs(values: Mapping[str, str], length: int) -> list[Json]:
    return [{"key": metric_name(key), "value": _cut(value, length)} for key, value in values.items()]


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _given(run: TrackedRun) -> dict[str, str]:
    """The tags and the note that people gave the run, after their keys."""
    given = {**run.given.tags, **({NOTE: run.given.note} if run.given.note else {})}
    return {GIVEN: " ".join(sorted(given)), **given} if given else {}


def _given_keys(tags: Mapping[str, str]) -> set[str]:
    """What people gave the run as it was written before."""
    return {GIVEN, *tags[GIVEN].split()} if GIVEN in tags else set()


def _tags(entity: Json) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in entity.get("tags", [])}


def _ms(seconds: float) -> int:
    return round(1000 * seconds)


def _body(answer: requests.Response) -> Json | None:
    """An answer's JSON object; None where it is something else. A file that was taken is answered with nothing."""
    if not answer.content:
        return {}
    try:
        body = answer.json()
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _refusal(answer: requests.Response, path: str, config: Tracking) -> str:
    said = str((_body(answer) or {}).get("message") or answer.text)
    said = " ".join("".join(letter if letter.isprintable() else " " for letter in said).split())[:300]
    fix = {
        200: "; tracking.uri is no address of MLflow's API, or a login stands before it",
        301: "; tracking.uri must be the address that it redirects to",
        401: f"; is {config.token or 'tracking.token, which is not set,'} the right token?",
        507: "; the server's disk is full",
    }.get(301 if answer.is_redirect else answer.status_code, "")
    if answer.status_code == 403 and "Host header" in said:
        fix = "; start the server with --allowed-hosts and the host of tracking.uri"
    return f"{answer.status_code} to {path}: {said}{fix}"


def _reason(error: BaseException) -> str:
    """The root of a chain of errors, which names no more than an address."""
    root: BaseException = error
    while root.__context__ is not None:
        root = root.__context__
    fix = "; is tracking.ca_file needed?" if "CERTIFICATE_VERIFY_FAILED" in str(root) else ""
    return f"{type(root).__name__}: {root}{fix}"
