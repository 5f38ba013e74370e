"""Reads and writes `schema.pbtxt`, and lists a model's inputs.

The label and the columns known only after the outcome carry `not_in_environment: "SERVING"`, TFX's convention.
"""

from __future__ import annotations

from pathlib import Path

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from slipway.errors import ConfigError
from slipway.stores import storage

FILE = "schema.pbtxt"
TRAINING, SERVING = "TRAINING", "SERVING"


def parse_schema(text: str, source: str = FILE) -> schema_pb2.Schema:
    """A schema from its text form.

    Raises:
        ConfigError: the text is not a schema; the message has the line.
    """
    try:
        return text_format.Parse(text, schema_pb2.Schema())
    except text_format.ParseError as error:
        raise ConfigError(f"{source}:{error.GetLine()}: not a tensorflow_metadata Schema: {error}") from error


def read_schema(artifact_path: str | Path) -> schema_pb2.Schema:
    """The schema of an artifact of infer_schema."""
    path = Path(artifact_path) / FILE
    return parse_schema(path.read_text(encoding="utf-8"), str(path))


def model_inputs(schema: schema_pb2.Schema) -> list[schema_pb2.Feature]:
    """The features that a model may see when it serves, in the schema's order."""
    return [
        feature
        for feature in schema.feature
        if SERVING not in feature.not_in_environment
        and (not feature.in_environment or SERVING in feature.in_environment)
    ]


def write_schema(schema: schema_pb2.Schema, artifact_path: str | Path) -> None:
    """Writes `schema.pbtxt`, atomically; equal schemas are equal bytes."""
    storage.write_text(storage.join(str(artifact_path), FILE), text_format.MessageToString(schema, as_utf8=True))
