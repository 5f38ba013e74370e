"""Names of the targets that run pipelines, and of the pipeline that they run unless another is named."""

from typing import Literal

RemoteTarget = Literal["kubeflow", "vertex"]
Target = Literal["local", RemoteTarget]
DEFAULT_PIPELINE = "training"
