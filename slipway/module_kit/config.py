"""Reading `module.yaml`."""

from pathlib import Path
from typing import get_args

from slipway.errors import ConfigError, ModuleError
from slipway.module_api import CONTRACT, MetricName, ModuleConfig
from slipway.strict_yaml import nearest, read_yaml
from slipway.tuning.goal import goal_of

FILE = "module.yaml"


def read_config(folder: str | Path) -> ModuleConfig:
    """The configuration of a module.

    Raises:
        ModuleError: the folder holds no module.yaml.
        ConfigError: an unknown key or metric, a wrong value, or not YAML; the message has the line and the nearest key.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        raise ModuleError(
            f"{folder} is not a module: it has no {FILE}. "
            f"`slipway module new {Path(folder).name} --data FILE` makes one"
        )
    document = read_yaml(path)
    contract = document.values.get("contract")
    if contract is not None and contract != CONTRACT:
        raise document.error(
            ("contract",),
            f"contract {contract!r} is unknown; this version of Slipway knows contract: {CONTRACT}",
        )
    config = document.parse(ModuleConfig)
    known = [*get_args(MetricName), *config.metrics]
    for index, threshold in enumerate(config.thresholds):
        if threshold.metric not in known:
            at = ("thresholds", index, "metric")
            hint = nearest(threshold.metric, known)
            raise document.error(at, f"thresholds[{index}].metric is {threshold.metric!r}{hint}")
    if config.tuning:
        try:
            goal_of(config.task, config.tuning.metric, config.tuning.target)
        except ConfigError as error:
            raise document.error(("tuning", "metric"), str(error)) from error
    return config
