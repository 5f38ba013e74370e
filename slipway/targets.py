"""Names of the targets that run pipelines."""

from typing import Literal

RemoteTarget = Literal["kubeflow", "vertex"]
Target = Literal["local", RemoteTarget]
