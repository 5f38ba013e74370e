"""All errors that Slipway raises deliberately.

SlipwayError
├── ConfigError            module.yaml, settings or a flag is wrong
├── ModuleError            a module's code breaks the contract
│   └── ModuleDigestError  a module's files differ from the digest that the run pinned
├── DataError              the data cannot be read, or too many rows are bad
│   └── AnomalyError       the data violates its schema
├── TrainingError          the model cannot be built or trained
├── GateError              an evaluation or a serving check cannot be run
├── DeliveryError          Git, the image registry or a step of a deployment fails
├── TargetError            Kubeflow or Vertex refuses, fails or does not respond
├── ClusterError           the Kubernetes API server refuses, or does not respond
├── RolloutError           a rollout cannot start, or ended without its version in production
│   ├── RolloutBusyError       another rollout of the model is running, or waits for a decision
│   ├── RolledBackError        the version failed, and the previous one serves again
│   └── RolloutInconclusiveError  the canary got too little traffic to be judged, and stays
├── NotificationError      a notification is refused permanently
├── RequestError           a model server refuses a request, or does not respond
└── StoreError             a model, a run, an artifact or a file cannot be found, read or written
    └── ModelQuarantinedError  a version, or one with the same bytes, must never be served again

A message states the problem, the value and the fix; for remote services also the address and what was tried for how
long. The command line prints it without a traceback.
"""


class SlipwayError(Exception):
    """Base of all errors that a user can fix; the message is written for users."""


class ConfigError(SlipwayError):
    """A configuration value is unknown, missing or wrong."""


class ModuleError(SlipwayError):
    """A module violates the contract in `slipway.module_api`."""


class ModuleDigestError(ModuleError):
    """The files of a module differ from the pinned digest."""


class DataError(SlipwayError):
    """The input data cannot be used."""


class AnomalyError(DataError):
    """The examples violate their schema, or drifted beyond its limits."""


class TrainingError(SlipwayError):
    """The model cannot be built, trained or exported."""


class GateError(SlipwayError):
    """A model cannot be judged, which differs from a refused model."""


class DeliveryError(SlipwayError):
    """A deployment cannot be planned, or one of its steps failed."""


class TargetError(SlipwayError):
    """A target refuses a request, fails, or does not respond."""


class NotificationError(SlipwayError):
    """A notification is refused, or its secret is missing; retries cannot help."""


class RequestError(SlipwayError):
    """A model server refuses a request, or does not respond in time."""


class StoreError(SlipwayError):
    """Stored data is missing, damaged or out of reach, or cannot be written."""


class ModelQuarantinedError(StoreError):
    """The model was taken out of service permanently."""


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
