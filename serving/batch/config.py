"""What the steps of a batch prediction are given of `module.yaml`, as JSON text: kfp makes floats of all numbers."""

from pydantic import BaseModel, ConfigDict

from slipway.module_api import BatchPrediction, Ingestion, Monitoring, Threshold


class BatchConfig(BaseModel):
    """The keys of `module.yaml` that decide what is predicted, and how."""

    model_config = ConfigDict(frozen=True)

    ingestion: Ingestion = Ingestion()
    monitoring: Monitoring = Monitoring()
    thresholds: tuple[Threshold, ...] = ()
    batch_prediction: BatchPrediction = BatchPrediction()

    @property
    def decision(self) -> float:
        """The probability above which the second of two classes is predicted: the only one that thresholds name."""
        named = {one.decision for one in self.thresholds if one.decision is not None}
        return named.pop() if len(named) == 1 else 0.5


GIVEN = set(BatchConfig.model_fields)
