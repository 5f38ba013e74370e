"""What the steps of the monitor are given of `module.yaml`, as JSON text: kfp makes floats of all numbers in a dict."""

from pydantic import Field

from slipway.module_api import Ingestion, LabelledTask, Monitoring, OwnMetrics, Threshold


class MonitorConfig(LabelledTask):
    """The keys of `module.yaml` that decide what the monitor does."""

    slices: tuple[tuple[str, ...], ...] = ()
    thresholds: tuple[Threshold, ...] = ()
    metrics: OwnMetrics = Field(default_factory=dict)
    ingestion: Ingestion = Ingestion()
    monitoring: Monitoring = Monitoring()


GIVEN = set(MonitorConfig.model_fields)
