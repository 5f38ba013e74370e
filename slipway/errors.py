"""All errors that Slipway raises deliberately.

A message states the problem, the value and the fix; for remote services also the address and what was tried for how
long. The command line prints it without a traceback.
"""


class SlipwayError(Exception):
    """Base of all errors that a user can fix; the message is written for users."""


class ConfigError(SlipwayError):
    """module.yaml, a setting or a flag is unknown, missing or wrong."""


class ModuleError(SlipwayError):
    """A module violates the contract in `slipway.module_api`."""


class ModuleDigestError(ModuleError):
    """The files of a module differ from the pinned digest."""


class DataError(SlipwayError):
    """The data cannot be read, or too many rows are bad."""


class UnusableColumnsError(DataError):
    """Columns are of types that examples cannot hold; `columns` maps their names to the types."""

    def __init__(self, columns: dict[str, str]) -> None:
        self.columns = columns
        named = ", ".join(f"column {name!r} is {kind}" for name, kind in columns.items())
        super().__init__(
            f"{named}, which examples cannot hold; write the parts as columns, or leave out what no model needs: "
            f"`ingestion: {{ignore: {list(columns)}}}` in module.yaml"
        )


class DelimiterError(DataError):
    """The fields of a CSV file seem to be separated by another `delimiter`."""

    def __init__(self, message: str, delimiter: str) -> None:
        self.delimiter = delimiter
        super().__init__(message)


class AnomalyError(DataError):
    """The examples violate their schema, or drifted beyond its limits."""


class TrainingError(SlipwayError):
    """The model cannot be built, trained or exported."""


class GateError(SlipwayError):
    """An evaluation or a serving check cannot be run, which differs from a refused model."""


class DeliveryError(SlipwayError):
    """Git, the image registry or a step of a deployment fails."""


class TargetError(SlipwayError):
    """Kubeflow or Vertex refuses a request, fails, or does not respond."""


class NotificationError(SlipwayError):
    """A notification is refused, or its secret is missing; retries cannot help."""


class TrackingError(SlipwayError):
    """The server of experiments refuses a request; in an `outage` it is out of reach, slow, full or broken."""

    def __init__(self, message: str, *, outage: bool = False) -> None:
        super().__init__(message)
        self.outage = outage


class RequestError(SlipwayError):
    """A model server refuses a request, or does not respond in time.

    `status` is HTTP's, as a proxy would pass it on: the server's own, 504 where it was too slow, 502 otherwise.
    """

    def __init__(self, message: str, status: int = 502) -> None:
        super().__init__(message)
        self.status = status


class StoreError(SlipwayError):
    """A model, a run, an artifact or a file is missing, damaged or out of reach, or cannot be written."""


class ModelQuarantinedError(StoreError):
    """A version, or one with the same bytes, must never be served again."""


class ChangedMeanwhileError(StoreError):
    """A model is not as it was when a change of it was decided; nothing was changed."""


class ClusterError(SlipwayError):
    """The Kubernetes API server refuses a request, or does not respond."""


class RolloutError(SlipwayError):
    """A rollout cannot start, or ended without its version in production."""


class RolloutBusyError(RolloutError):
    """Another rollout of the model is running, or waits for a decision."""


class RolledBackError(RolloutError):
    """A version failed during its rollout, and was rolled back."""

    def __init__(self, message: str, version: int) -> None:
        super().__init__(message)
        self.version = version


class RolloutInconclusiveError(RolloutError):
    """The canary got too little traffic to be judged, and stays."""
