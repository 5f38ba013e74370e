"""What goes into the transform: the raw features as the schema has them, and the module's function."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from slipway.errors import ModuleError
from slipway.module_store import load_function
from slipway.tensors import dtype_of, fixed_shape, is_list

if TYPE_CHECKING:
    import pyarrow as pa
    from tensorflow_metadata.proto.v0 import schema_pb2

FUNCTION = "preprocessing_fn"


@dataclass(frozen=True)
class RawFeatures:
    """The inputs of the model, as TensorFlow Transform wants them described."""

    features: tuple[schema_pb2.Feature, ...]

    @property
    def names(self) -> list[str]:
        """Names, in the schema's order."""
        return [feature.name for feature in self.features]

    def spec(self) -> dict[str, Any]:
        """For `tf.io.parse_example`: sparse for a single value, ragged for a list, dense for a fixed shape."""
        import tensorflow as tf

        spec: dict[str, Any] = {}
        for feature in self.features:
            dtype = tf.as_dtype(dtype_of(feature))
            if feature.HasField("shape"):
                spec[feature.name] = tf.io.FixedLenFeature(fixed_shape(feature), dtype)
            elif is_list(feature):
                spec[feature.name] = tf.io.RaggedFeature(dtype, row_splits_dtype=tf.int64)
            else:
                spec[feature.name] = tf.io.VarLenFeature(dtype)
        return spec

    def metadata(self) -> Any:
        """The same as `DatasetMetadata`."""
        from tensorflow_transform.tf_metadata import dataset_metadata

        return dataset_metadata.DatasetMetadata.from_feature_spec(self.spec())

    def adapter(self) -> Any:
        """How Arrow columns of `slipway.tensors.list_columns` become tensors: a `TensorAdapterConfig`."""
        from tfx_bsl.tfxio.tensor_adapter import TensorAdapterConfig
        from tfx_bsl.tfxio.tensor_representation_util import InferTensorRepresentationsFromMixedSchema

        representations = InferTensorRepresentationsFromMixedSchema(self.metadata().schema)
        return TensorAdapterConfig(self.arrow_schema, representations)

    @cached_property
    def arrow_schema(self) -> pa.Schema:
        """Of `slipway.tensors.list_columns`."""
        import pyarrow as pa

        types = {"float32": pa.float32(), "int64": pa.int64(), "string": pa.binary()}
        return pa.schema([(feature.name, pa.list_(types[dtype_of(feature)])) for feature in self.features])


@dataclass(frozen=True)
class Preprocessing:
    """The module's `preprocessing_fn`, checked; pickled as its URI, so that a remote worker loads the same bytes."""

    uri: str

    def __call__(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Calls the module.

        Raises:
            ModuleError: the function fails, or answers something else than dense tensors by name.
        """
        import tensorflow as tf

        outputs = load_function(self.uri, "preprocessing", FUNCTION)(inputs)
        if not isinstance(outputs, dict) or not outputs:
            raise ModuleError(f"{FUNCTION} returns a dict from names to tensors, not {outputs!r}")
        for name, value in outputs.items():
            if not isinstance(value, tf.Tensor):
                raise ModuleError(
                    f"{FUNCTION} returns {type(value).__name__} for {name!r}; it must be a dense tensor: "
                    "use slipway.module_api.fill_missing, or .to_tensor() of a RaggedTensor"
                )
            if value.shape.rank is None or None in value.shape[1:]:
                raise ModuleError(
                    f"{FUNCTION} returns shape {value.shape} for {name!r}; all but the batch dimension must be known: "
                    "use tf.reshape or tf.ensure_shape"
                )
        return outputs
