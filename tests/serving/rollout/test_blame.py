"""Which last lines of a model server blame the model; the messages are those of the sources that blame.py names."""

from __future__ import annotations

import pytest

from serving.rollout.blame import UNCLEAR, cause_in_log, cause_of_end

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


@pytest.mark.parametrize(
    "log",
    [
        "tensorflow_model_server: error while loading shared libraries: libcuda.so.1",
        "exec /usr/bin/tensorflow_model_server: exec format error",
        "Failed to start server. Error: INVALID_ARGUMENT: Invalid protobuf file: '/config/models.config'",
        "\t--model_name=default              \tstring\tname of model\n\t--version=false\tbool\tDisplay version",
    ],
)
def test_cause_in_log_image_flags_and_configuration_are_no_fault_of_the_model(log: str) -> None:
    why, blames_model = cause_in_log(log)
    assert "image, flags or configuration" in why
    assert not blames_model


@pytest.mark.parametrize("log", ["", "Segmentation fault", "Running gRPC ModelServer at 0.0.0.0:8500 ..."])
def test_cause_in_log_that_is_unclear_blames_nobody(log: str) -> None:
    assert cause_in_log(log) == UNCLEAR


@pytest.mark.parametrize(
    ("code", "reason", "log", "why"),
    [
        (137, "OOMKilled", FAILED, "killed for memory"),
        (137, "Error", FAILED, "killed"),
        (143, "Error", "", "kubelet"),
        (128, "StartError", "", "cannot be started"),
        (126, "Error", "", "cannot be executed"),
        (127, "Error", "", "lacks its program"),
        (132, "Error", "", "processor"),
        (135, "Error", "", "mapped"),
    ],
)
def test_cause_of_end_that_its_code_tells_is_no_fault_of_the_model(code: int, reason: str, log: str, why: str) -> None:
    cause = cause_of_end({"exitCode": code, "reason": reason}, log)
    assert why in cause.why
    assert not cause.blames_model


@pytest.mark.parametrize("code", [0, 1, 134, 139, 255])
def test_cause_of_end_that_its_code_does_not_tell_is_what_its_log_says(code: int) -> None:
    ended = {"exitCode": code, "reason": "Error"}
    assert cause_of_end(ended, "") == UNCLEAR
    assert cause_of_end(ended, FAILED).blames_model
