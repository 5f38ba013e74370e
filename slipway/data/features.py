"""The raw features of a model, for TensorFlow's parser and for TensorFlow Transform."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from slipway.data.tensors import arrow_type, dtype_of, fixed_shape, is_list, marker_of

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import schema_pb2


@dataclass(frozen=True)
class RawFeatures:
    """The inputs of a model: `slipway.data.schema.io.model_inputs`, in the schema's order."""

    features: tuple[schema_pb2.Feature, ...]

    @property
    def names(self) -> list[str]:
        """Names, in order."""
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

    def serving_spec(self) -> dict[str, Any]:
        """The same for requests, which may leave features out: a fixed shape is then filled with the marker."""
        spec = self.spec()
        for feature in self.features:
            if feature.HasField("shape"):
                default = np.full(fixed_shape(feature), marker_of(feature)).tolist()
                spec[feature.name] = spec[feature.name]._replace(default_value=default)
        return spec

    def metadata(self) -> Any:
        """The same as TensorFlow Transform's `DatasetMetadata`."""
        from tensorflow_transform.tf_metadata import dataset_metadata

        return dataset_metadata.DatasetMetadata.from_feature_spec(self.spec())

    def adapter(self) -> Any:
        """The `TensorAdapterConfig` that turns columns of `slipway.data.tensors.list_columns` into tensors."""
        import pyarrow as pa
        from tfx_bsl.tfxio.tensor_adapter import TensorAdapterConfig
        from tfx_bsl.tfxio.tensor_representation_util import InferTensorRepresentationsFromMixedSchema

        columns = pa.schema([(feature.name, pa.list_(arrow_type(feature))) for feature in self.features])
        return TensorAdapterConfig(columns, InferTensorRepresentationsFromMixedSchema(self.metadata().schema))
