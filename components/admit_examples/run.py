"""Records the data of a run, and refuses bad data."""

from collections.abc import Sequence
from typing import Any

from tensorflow_metadata.proto.v0 import schema_pb2

from slipway.data.schema import FILE, parse_schema
from slipway.data.validation.earlier import compare_inputs
from slipway.data.validation.report import Anomaly, describe_anomaly, read_validation, refusal
from slipway.errors import AnomalyError
from slipway.runs.record import BAD_DATA, NO_VERDICT, Outcome, RunContext
from slipway.runs.store import OUTCOME
from slipway.runs.summary import failure_reasons, read_if_there
from slipway.stores import storage
from slipway.stores.model_store import open_store

# Ends the names of the metadata that hold URIs: flat, since Kubeflow hands a mapping on wrapped
# (`StructValueToMLMDValue`, backend/src/v2/metadata/converter.go).
_URI = "_uri"


def admit(
    anomalies_path: str,
    anomalies_uri: str,
    metadata: dict[str, Any],
    run: RunContext,
    unlike_production: Sequence[Anomaly] = (),
) -> Outcome:
    """Writes `outcome.json` to the run's record, to which the step that comes to a verdict adds.

    A run that comes to no verdict, since a later step fails, gives the warnings among its reasons.

    Args:
        anomalies_path: Local path of the anomalies.
        anomalies_uri: Their URI, for the record.
        metadata: Metadata of the anomalies, as validate_examples sets it.
        run: This run.
        unlike_production: What keeps the model in production from predicting these rows.

    Raises:
        AnomalyError: there is an error among the anomalies.
        StoreError: the anomalies cannot be read.
    """
    validation = read_validation(anomalies_path)
    validation.anomalies = [*unlike_production, *validation.anomalies]
    said = refusal(validation) if validation.errors else ""
    warned = "\n".join(describe_anomaly(anomaly) for anomaly in validation.anomalies)
    outcome = Outcome(
        verdict=BAD_DATA if validation.errors else NO_VERDICT,
        reasons=failure_reasons(None, said or warned),
        data_digest=metadata["data_digest"],
        schema_digest=metadata["schema_digest"],
        artifacts={name.removesuffix(_URI): uri for name, uri in metadata.items() if name.endswith(_URI)}
        | {"anomalies": anomalies_uri},
    )
    storage.write_text(storage.join(run.uri, OUTCOME), outcome.model_dump_json(indent=1))
    if validation.errors:
        raise AnomalyError(said)
    return outcome


def find_unlike_production(store_uri: str, module: str, schema_uri: str) -> list[Anomaly]:
    """Compares the schema of this run with that of the model in production; nothing if either is out of reach."""
    production = open_store(store_uri).production(module)
    if production is None:
        return []
    before = _read_schema(production.manifest.artifacts.get("schema", ""))
    now = _read_schema(schema_uri)
    return list(compare_inputs(now, before, production.number)) if now and before else []


def _read_schema(uri: str) -> schema_pb2.Schema | None:
    """The schema of an artifact; None if it was deleted, or only the platform can read it."""
    return read_if_there(lambda: parse_schema(storage.read_text(storage.join(uri, FILE)), uri))
