"""A SavedModel in TensorFlow's C++ runtime: with the loader, the sessions and the error texts of TensorFlow Serving.

`tf.saved_model.load` builds Python objects instead: it takes seconds to import, and answers for models whose signatures
read variables that the C++ runtime leaves uninitialised.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from serving.protocol.errors import ServingError, not_found
from serving.protocol.protos import config_pb2, meta_graph_pb2
from serving.runtime.c_api import Output, new_tensor, read_tensor, tensorflow

TAG = b"serve"
# Added by the exporter for its own use; TensorFlow Serving serves it no more than it lists it.
_INTERNAL = "__saved_model_init_op"
# Lists of tensors: clients choose the outputs and their order.
_MAX_KEPT = 256


class SavedModel:
    """A SavedModel, loaded from its directory; many threads may run it at a time.

    `inter_op` is the number of threads for independent operations: 0 lets TensorFlow choose, -1 takes the caller's.
    TensorFlow's errors are raised as `ServingError`s.
    """

    def __init__(self, path: str | Path, *, inter_op: int = 0) -> None:
        self._functions = tensorflow()
        self._outputs: dict[tuple[str, ...], ctypes.Array[Output]] = {}
        self._graph = self._functions.TF_NewGraph()
        self._session = 0
        config = config_pb2.ConfigProto(inter_op_parallelism_threads=inter_op, allow_soft_placement=True)
        try:
            self.meta_graph = self._load(str(path), config.SerializeToString())
        except BaseException:
            self.close()
            raise

    @property
    def signatures(self) -> dict[str, Any]:
        """`SignatureDef` by name."""
        return {name: each for name, each in self.meta_graph.signature_def.items() if name != _INTERNAL}

    def run(self, feeds: Mapping[str, NDArray[Any]], fetches: Sequence[str]) -> list[NDArray[Any]]:
        """Values of the tensors `fetches`, given those of `feeds`; names are `op:0`.

        Raises:
            ServingError: the graph has no such tensor, a type is wrong, or an operation fails.
            TypeError: TensorFlow cannot hold a value.
        """
        functions = self._functions
        inputs, outputs = self._outputs_of(tuple(feeds)), self._outputs_of(tuple(fetches))
        given = (ctypes.c_void_p * len(feeds))()
        answered = (ctypes.c_void_p * len(fetches))()
        alive = []
        try:
            for index, value in enumerate(feeds.values()):
                given[index], strings = new_tensor(value)
                alive.append(strings)
            fed, fetched = (inputs, given, len(given)), (outputs, answered, len(answered))
            with self._status() as status:
                functions.TF_SessionRun(self._session, None, *fed, *fetched, None, 0, None, status)
            return [read_tensor(tensor) for tensor in answered if tensor is not None]
        finally:
            for tensor in (*given, *answered):
                if tensor:
                    functions.TF_DeleteTensor(tensor)

    def close(self) -> None:
        """Frees the session, its variables and its graph; no call may be running."""
        session, self._session = self._session, 0
        graph, self._graph = self._graph, 0
        status = self._functions.TF_NewStatus()
        if session:
            self._functions.TF_CloseSession(session, status)
            self._functions.TF_DeleteSession(session, status)
        if graph:
            self._functions.TF_DeleteGraph(graph)
        self._functions.TF_DeleteStatus(status)

    def _load(self, path: str, config: bytes) -> Any:
        functions = self._functions
        options, meta_graph = functions.TF_NewSessionOptions(), functions.TF_NewBuffer()
        tags = (ctypes.c_char_p * 1)(TAG)
        try:
            with self._status() as status:
                functions.TF_SetConfig(options, config, len(config), status)
            with self._status() as status:
                self._session = functions.TF_LoadSessionFromSavedModel(
                    options, None, path.encode(), tags, len(tags), self._graph, meta_graph, status
                )
            content = ctypes.string_at(meta_graph.contents.data, meta_graph.contents.length)
            return meta_graph_pb2.MetaGraphDef.FromString(content)
        finally:
            functions.TF_DeleteBuffer(meta_graph)
            functions.TF_DeleteSessionOptions(options)

    def _outputs_of(self, tensor_names: tuple[str, ...]) -> ctypes.Array[Output]:
        """The graph's outputs by name; cached, since a signature asks for the same tensors again and again."""
        outputs = self._outputs.get(tensor_names)
        if outputs is None:
            if len(self._outputs) >= _MAX_KEPT:
                self._outputs.clear()
            outputs = (Output * len(tensor_names))(*map(self._output, tensor_names))
            self._outputs[tensor_names] = outputs
        return outputs

    def _output(self, tensor_name: str) -> Output:
        operation, _, index = tensor_name.partition(":")
        found = self._functions.TF_GraphOperationByName(self._graph, operation.encode())
        if not found:
            raise not_found(f"Tensor {tensor_name} was not found in the Graph")
        return Output(found, int(index or 0))

    @contextmanager
    def _status(self) -> Iterator[int]:
        """A status for one call; raises the error that the call puts into it."""
        status = self._functions.TF_NewStatus()
        try:
            yield status
            code = self._functions.TF_GetCode(status)
            if code:
                raise ServingError.of_status(code, self._functions.TF_Message(status).decode(errors="replace"))
        finally:
            self._functions.TF_DeleteStatus(status)
