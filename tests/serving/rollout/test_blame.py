"""Which last lines of a model server blame the model; the messages are those of the sources that blame.py names."""

from __future__ import annotations

import pytest

from serving.rollout.blame import cause_in_log, cause_of_end

GCS = "Error executing an HTTP request: "
FAILED = "Loading servable: {name: taxi version: 2} failed: "
ENDED = (
    "Failed to start server. Error: UNKNOWN: 1 servable(s) did not become available: {{name: taxi version: 2} due to "
    "error: "
)


@pytest.mark.parametrize(
    "log",
    [
        *(f"{ENDED}PERMISSION_DENIED: {GCS}HTTP response code {code} with body '{{\n  \"error\"' when reading gs://b/x}}"
          for code in (401, 403, 404, 429, 500, 502, 503)),
        f"{FAILED}FAILED_PRECONDITION: {GCS}libcurl code 6 meaning 'Couldn't resolve host name', error details: x",
        f"{ENDED}ABORTED: All 10 retry attempts failed. The last failure: {GCS}libcurl code 28 meaning 'Timeout'}}",
        "All attempts to get a Google authentication bearer token failed, returning an empty token.",
        "FileSystemStoragePathSource encountered a filesystem access error: Could not find base path /models/taxi",
        f"{FAILED}NOT_FOUND: Could not find SavedModel .pb or .pbtxt at supplied export directory path: /models/taxi/2",
        f"{FAILED}NOT_FOUND: /models/taxi/2/variables/variables.index; No such file or directory",
        f"{FAILED}PERMISSION_DENIED: /models/taxi/2/saved_model.pb; Permission denied",
        f"{FAILED}UNKNOWN: /models/taxi/2/saved_model.pb; Input/output error",
        f"{FAILED}RESOURCE_EXHAUSTED: OOM when allocating tensor with shape[1000000,512]",
        "terminate called after throwing an instance of 'std::bad_alloc'",
    ],
)  # fmt: skip
def test_cause_in_log_storage_and_memory_are_no_fault_of_the_model(log: str) -> None:
    why, blames_model = cause_in_log(log)
    assert why
    assert not blames_model


ACCESS = "FileSystemStoragePathSource encountered a filesystem access error: "
NO_BASE = f"{ACCESS}Could not find base path gs://b/models/taxi for servable taxi with error "


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        (
            f"{NO_BASE}PERMISSION_DENIED: {GCS}HTTP response code 403 with body '{{' when reading",
            "HTTP response code 403",
        ),
        (f"{NO_BASE}NOT_FOUND: {GCS}HTTP response code 404 when reading metadata of gs://b", "HTTP response code 404"),
        (f"{NO_BASE}PERMISSION_DENIED: {GCS}HTTP response code 401 when reading", "HTTP response code 401"),
        (f"{NO_BASE}UNAVAILABLE: {GCS}libcurl code 6 meaning 'Couldn't resolve host name', error", "libcurl code 6"),
        (f"{NO_BASE}UNAVAILABLE: {GCS}libcurl code 28 meaning 'Timeout was reached'", "Timeout was reached"),
        (f"{ACCESS}/models/taxi; Permission denied", "Permission denied"),
        (f"{ACCESS}Could not find base path /models/taxi for servable taxi", "Could not find base path /models/taxi"),
        (f"{ACCESS}something new", "filesystem access error"),
    ],
)
def test_cause_in_log_names_what_lies_behind_an_access_error(log: str, reason: str) -> None:
    why, blames_model = cause_in_log(log)
    assert reason in why
    assert ("access error" in why) == ("access error" in reason)
    assert not blames_model


@pytest.mark.parametrize(
    "log",
    [
        f"{FAILED}NOT_FOUND: Op type not registered 'TextSegment' in binary running on pod-1.",
        f"{ENDED}INVALID_ARGUMENT: Cannot assign a device for operation dense}}",
        f"{ENDED}DATA_LOSS: Can't parse /models/taxi/2/saved_model.pb as binary proto}}",
        "SavedModel load for tags { serve }; Status: fail: NOT_FOUND: Could not find meta graph def matching tags",
        # An earlier attempt met a short outage; the last one did not.
        f"{FAILED}UNAVAILABLE: {GCS}HTTP response code 503\n{FAILED}NOT_FOUND: Could not find variable dense/kernel",
    ],
)
def test_cause_in_log_load_errors_blame_the_model(log: str) -> None:
    assert cause_in_log(log) == ("it cannot load the SavedModel", True)


@pytest.mark.parametrize("log", ["", "unknown argument: --portt", "Running gRPC ModelServer at 0.0.0.0:8500 ..."])
def test_cause_in_log_that_is_unclear_blames_nobody(log: str) -> None:
    assert cause_in_log(log) == ("", False)


@pytest.mark.parametrize(
    ("terminated", "log", "had_served", "blames_model"),
    [
        ({"exitCode": 137, "reason": "OOMKilled"}, FAILED, False, False),
        ({"exitCode": 137, "reason": "Error"}, "", True, False),
        ({"exitCode": 143, "reason": "Error"}, "", True, False),
        ({"exitCode": 0, "reason": "Completed"}, "", True, False),
        ({"exitCode": 139, "reason": "Error"}, "", False, False),
        ({"exitCode": 139, "reason": "Error"}, "", True, True),
        ({"exitCode": 255, "reason": "Error"}, FAILED, False, True),
    ],
)
def test_cause_of_end(terminated: dict[str, object], log: str, had_served: bool, blames_model: bool) -> None:
    assert cause_of_end(terminated, log, had_served=had_served).blames_model is blames_model
