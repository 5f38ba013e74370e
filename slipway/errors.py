"""Every error that Slipway raises on purpose.

SlipwayError
├── ConfigError            module.yaml, settings or a flag is wrong
├── ModuleError            a module's code breaks the contract
│   └── ModuleDigestError  a module's bytes are not those that the run pinned
├── DataError              the data cannot be read, or too much of it is bad
│   └── AnomalyError       the data breaks its schema
├── TrainingError          the model cannot be built or trained
├── GateError              an evaluation or a serving check cannot be carried out
├── DeliveryError          Git, the image registry or a step of a deployment fails
├── TargetError            Kubeflow or Vertex refuses, fails or does not answer
├── ClusterError           the Kubernetes API server refuses, or does not answer
├── RolloutError           a rollout cannot begin, or ended without its version in production
│   ├── RolloutBusyError       another rollout of the model is at work, or waits for a decision
│   ├── RolledBackError        the version failed, and what was before it serves
│   └── RolloutInconclusiveError  the canary stays: it got too little traffic to be judged
├── NotificationError      a notification is refused for a reason that stays
├── RequestError           a model server refuses a request, or does not answer
└── StoreError             a model, a run or an artifact cannot be found or written
    └── ModelQuarantinedError  a version, or bytes like its, must never be served again

A message says what is wrong, the value, and the fix. The command line prints it without a stack trace.
"""


class SlipwayError(Exception):
    """Base of all errors that are the user's to mend; the message is for people."""


class ConfigError(SlipwayError):
    """A configuration value is unknown, missing or wrong."""


class ModuleError(SlipwayError):
    """A module breaks the contract of `slipway.module_api`."""


class ModuleDigestError(ModuleError):
    """The bytes of a module are not those that were pinned."""


class DataError(SlipwayError):
    """The input data cannot be used."""


class AnomalyError(DataError):
    """The examples break their schema, or drifted beyond its limits."""


class TrainingError(SlipwayError):
    """The model cannot be built, trained or exported."""


class GateError(SlipwayError):
    """A model cannot be judged: this is not the same as being refused."""


class DeliveryError(SlipwayError):
    """A plan cannot be made, or a step of it failed."""


class TargetError(SlipwayError):
    """A target refuses what it was asked, fails, or does not answer."""


class NotificationError(SlipwayError):
    """A notification is refused, or its secret is missing; trying again is no use."""


class RequestError(SlipwayError):
    """A model server refuses a request, or does not answer in time."""


class StoreError(SlipwayError):
    """Something that should be stored is not there, or cannot be written."""


class ModelQuarantinedError(StoreError):
    """The bytes were taken out of service for good; no retry puts them back."""


class ClusterError(SlipwayError):
    """The Kubernetes API server refuses a request, or does not answer."""


class RolloutError(SlipwayError):
    """A rollout cannot begin, or it ended without its version in production."""


class RolloutBusyError(RolloutError):
    """Another rollout of the model is at work, or waits for a decision."""


class RolledBackError(RolloutError):
    """A version failed on its way into production, and was taken back."""

    def __init__(self, message: str, version: int) -> None:
        super().__init__(message)
        self.version = version


class RolloutInconclusiveError(RolloutError):
    """Neither success nor failure: too little traffic reached the canary, which stays."""
