"""Records the data of a run, and refuses bad data."""

from typing import Any

from slipway.data.validation.report import read_validation, refusal
from slipway.errors import AnomalyError
from slipway.runs.record import BAD_DATA, NO_VERDICT, Outcome, RunContext
from slipway.runs.store import OUTCOME
from slipway.runs.summary import failure_reasons
from slipway.stores import storage

# Ends the names of the metadata that hold URIs: flat, since Kubeflow hands a mapping on wrapped
# (`StructValueToMLMDValue`, backend/src/v2/metadata/converter.go).
_URI = "_uri"


def admit(anomalies_path: str, anomalies_uri: str, metadata: dict[str, Any], run: RunContext) -> Outcome:
    """Writes `outcome.json` to the run's record, to which the step that comes to a verdict adds.

    Args:
        anomalies_path: Local path of the anomalies.
        anomalies_uri: Their URI, for the record.
        metadata: Metadata of the anomalies, as validate_examples sets it.
        run: This run.

    Raises:
        AnomalyError: there is an error among the anomalies.
        StoreError: the anomalies cannot be read.
    """
    validation = read_validation(anomalies_path)
    said = refusal(validation) if validation.errors else ""
    outcome = Outcome(
        verdict=BAD_DATA if validation.errors else NO_VERDICT,
        reasons=failure_reasons(None, said),
        data_digest=metadata["data_digest"],
        schema_digest=metadata["schema_digest"],
        artifacts={name.removesuffix(_URI): uri for name, uri in metadata.items() if name.endswith(_URI)}
        | {"anomalies": anomalies_uri},
    )
    storage.write_text(storage.join(run.uri, OUTCOME), outcome.model_dump_json(indent=1))
    if validation.errors:
        raise AnomalyError(said)
    return outcome
