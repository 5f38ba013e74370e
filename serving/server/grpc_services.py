"""TensorFlow Serving's gRPC services: PredictionService and ModelService."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import grpc

from serving.protocol import protos
from serving.protocol.errors import ServingError, cut, failed_precondition, invalid_argument
from serving.request_log import RequestLog
from serving.server import inference
from serving.server.call_recorder import CallRecorder
from serving.server.metrics import Metrics
from serving.server.model_manager import ModelManager
from serving.server.model_sources import BasePaths, models_of
from serving.server.servable import Servable

# A reload waits for its models, minutes for a broken one: others in the queue would take all threads that predict.
_RELOAD_WAIT_SECONDS = 5.0


def _answers_errors(method: Callable[[Any, Any, grpc.ServicerContext], Any]) -> Any:
    """A method of a service that answers a `ServingError` with its code and text."""

    def call(service: Any, request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return method(service, request, context)
        except ServingError as error:
            context.abort(error.code, cut(error.message))

    return call


def _spec_of(request: Any) -> Any:
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")
    return request.model_spec


def _spec_of_tasks(request: Any) -> Any:
    return request.tasks[0].model_spec if request.tasks else protos.model_pb2.ModelSpec()


def _named(spec: Any) -> tuple[str, int | None, str | None]:
    """Name, version and label."""
    return spec.name, spec.version.value if spec.HasField("version") else None, spec.version_label or None


def _inference(name: str, answer: Callable[[Servable, Any], Any], spec_of: Callable[[Any], Any] = _spec_of) -> Any:
    @_answers_errors
    def call(service: PredictionService, request: Any, context: grpc.ServicerContext) -> Any:
        def request_id() -> str:
            return dict(context.invocation_metadata()).get("x-request-id") or str(uuid4())

        with service.recorder.record("grpc", name, request_id) as call:
            spec = spec_of(request)
            call.model = spec.name
            with service.manager.use(*_named(spec)) as servable:
                call.request, call.response = request, call.run(answer, servable, request)
                call.version = servable.version
        return call.response

    return call


class PredictionService(protos.prediction_service_pb2_grpc.PredictionServiceServicer):  # type: ignore[misc]
    """TensorFlow Serving's `model_servers/prediction_service_impl.cc`."""

    def __init__(self, manager: ModelManager, metrics: Metrics, request_log: RequestLog | None = None) -> None:
        self.manager = manager
        self.recorder = CallRecorder(metrics, request_log, manager)

    Predict = _inference("Predict", inference.predict)
    Classify = _inference("Classify", inference.classify)
    Regress = _inference("Regress", inference.regress)
    MultiInference = _inference("MultiInference", inference.multi_inference, _spec_of_tasks)

    @_answers_errors
    def GetModelMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:
        spec = _spec_of(request)
        if not request.metadata_field:
            raise invalid_argument("GetModelMetadataRequest must specify at least one metadata_field")
        if unknown := set(request.metadata_field) - {"signature_def"}:
            raise invalid_argument(f"Metadata field {', '.join(sorted(unknown))} is not supported")
        with self.manager.use(*_named(spec)) as servable:
            return inference.metadata(servable)


class ModelService(protos.model_service_pb2_grpc.ModelServiceServicer):  # type: ignore[misc]
    """TensorFlow Serving's `model_servers/model_service_impl.cc`."""

    def __init__(self, manager: ModelManager) -> None:
        self._manager = manager
        self._lock = threading.Lock()

    @_answers_errors
    def GetModelStatus(self, request: Any, context: grpc.ServicerContext) -> Any:
        found = self._manager.status(*_named(_spec_of(request)))
        return protos.get_model_status_pb2.GetModelStatusResponse(model_version_status=found)

    @_answers_errors
    def HandleReloadConfigRequest(self, request: Any, context: grpc.ServicerContext) -> Any:
        if not self._lock.acquire(timeout=_RELOAD_WAIT_SECONDS):
            raise ServingError(grpc.StatusCode.UNAVAILABLE, "Another reload is at work; try again later")
        try:
            models = models_of(request.config)
            for model in models:
                for label, version in model.version_labels.items():
                    if not self._manager.may_label(model.name, label, version):
                        raise failed_precondition(
                            f"Request to assign label to version {version} of model {model.name}, "
                            "which is not currently available for inference"
                        )
            self._manager.reload(BasePaths(models))
        finally:
            self._lock.release()
        return protos.model_management_pb2.ReloadConfigResponse(status={})
