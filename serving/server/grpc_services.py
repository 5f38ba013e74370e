"""TensorFlow Serving's gRPC services: PredictionService and ModelService."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn
from uuid import uuid4

import grpc

from serving.protocol.errors import ServingError, cut, failed_precondition, invalid_argument
from serving.protocol.protos import (
    get_model_status_pb2,
    model_management_pb2,
    model_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)
from serving.server import inference
from serving.server.call_recorder import CallRecorder
from serving.server.config import check_config
from serving.server.metrics import Metrics
from serving.server.model_manager import ModelManager
from serving.server.model_sources import BasePaths
from serving.server.model_versions import ServedVersion, State
from serving.server.servable import Servable

if TYPE_CHECKING:
    from serving.request_log import RequestLog

# A reload waits for its models, minutes for a broken one: others in the queue would take all threads that predict.
_RELOAD_WAIT_SECONDS = 5.0


def _use(manager: ModelManager, spec: Any) -> ServedVersion:
    return manager.use(spec.name, *_choice(spec))


def _spec_of(request: Any) -> Any:
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")
    return request.model_spec


def _request_id(context: grpc.ServicerContext) -> str:
    return dict(context.invocation_metadata()).get("x-request-id") or str(uuid4())


def _first_task(request: Any) -> Any:
    return request.tasks[0].model_spec if request.tasks else model_pb2.ModelSpec()


def _choice(spec: Any) -> tuple[int | None, str | None]:
    return spec.version.value if spec.HasField("version") else None, spec.version_label or None


def _abort(context: grpc.ServicerContext, error: ServingError) -> NoReturn:
    context.abort(error.code, cut(error.message))
    raise AssertionError("abort raises")


def _inference(method: str, answer: Callable[[Servable, Any], Any], spec_of: Callable[[Any], Any]) -> Any:
    """A method of PredictionService."""

    def call(service: PredictionService, request: Any, context: grpc.ServicerContext) -> Any:
        try:
            with service.recorder.record("grpc", method, lambda: _request_id(context)) as call:
                spec = spec_of(request)
                call.model = spec.name
                with _use(service.manager, spec) as servable:
                    call.request, call.response = request, call.run(answer, servable, request)
                    call.version = servable.version
        except ServingError as error:
            _abort(context, error)
        return call.response

    return call


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):  # type: ignore[misc]
    """TensorFlow Serving's `model_servers/prediction_service_impl.cc`."""

    def __init__(self, manager: ModelManager, metrics: Metrics, request_log: RequestLog | None = None) -> None:
        self.manager = manager
        self.recorder = CallRecorder(metrics, request_log)

    Predict = _inference("Predict", inference.predict, _spec_of)
    Classify = _inference("Classify", inference.classify, _spec_of)
    Regress = _inference("Regress", inference.regress, _spec_of)
    MultiInference = _inference("MultiInference", inference.multi_inference, _first_task)

    def GetModelMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:
        try:
            spec = _spec_of(request)
            if not request.metadata_field:
                raise invalid_argument("GetModelMetadataRequest must specify at least one metadata_field")
            for name in request.metadata_field:
                if name != "signature_def":
                    # The %s is TensorFlow Serving's.
                    raise invalid_argument(f"Metadata field %s is not supported{name}")
            with _use(self.manager, spec) as servable:
                return inference.metadata(servable)
        except ServingError as error:
            _abort(context, error)


class ModelService(model_service_pb2_grpc.ModelServiceServicer):  # type: ignore[misc]
    """TensorFlow Serving's `model_servers/model_service_impl.cc`; `allow_unavailable_labels` as in `ServerConfig`."""

    def __init__(self, manager: ModelManager, *, allow_unavailable_labels: bool = False) -> None:
        self._manager = manager
        self._allow_unavailable_labels = allow_unavailable_labels
        self._lock = threading.Lock()

    def GetModelStatus(self, request: Any, context: grpc.ServicerContext) -> Any:
        try:
            spec = _spec_of(request)
            found = self._manager.status(spec.name, *_choice(spec))
        except ServingError as error:
            _abort(context, error)
        response = get_model_status_pb2.GetModelStatusResponse()
        for version in found:
            status = response.model_version_status.add(version=version.version, state=int(version.state))
            status.status.error_code = version.code.value[0]
            status.status.error_message = version.message
        return response

    def HandleReloadConfigRequest(self, request: Any, context: grpc.ServicerContext) -> Any:
        if not self._lock.acquire(timeout=_RELOAD_WAIT_SECONDS):
            _abort(context, ServingError(grpc.StatusCode.UNAVAILABLE, "Another reload is at work; try again later"))
        try:
            check_config(request.config)
            models = request.config.model_config_list.config
            self._check_labels(models)
            self._manager.reload(BasePaths(models))
        except ServingError as error:
            _abort(context, error)
        finally:
            self._lock.release()
        response = model_management_pb2.ReloadConfigResponse()
        response.status.error_code = 0
        return response

    def _check_labels(self, models: Any) -> None:
        for model in models:
            for label, version in model.version_labels.items():
                if not self._is_available(model.name, version) and not self._may_wait(model.name, label, version):
                    raise failed_precondition(
                        f"Request to assign label to version {version} of model {model.name}, "
                        "which is not currently available for inference"
                    )

    def _may_wait(self, name: str, label: str, version: int) -> bool:
        """Whether a label may be given to a version that is not loaded: only if no other version has the label."""
        return self._allow_unavailable_labels and self._manager.labels(name).get(label, version) == version

    def _is_available(self, name: str, version: int) -> bool:
        try:
            return self._manager.status(name, version)[0].state is State.AVAILABLE
        except ServingError:
            return False
