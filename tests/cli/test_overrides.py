import pytest

from cli.overrides import override_module, split_overrides
from slipway.errors import ConfigError
from slipway.module_api import Label, ModuleConfig

CONFIG = ModuleConfig(contract=1, task="regression", label=Label(column="y"))


def test_split_overrides_sends_each_key_where_it_belongs() -> None:
    settings, module = split_overrides(["evaluation.engine=tfma", "training.epochs=3", "training.seed=7"])
    assert settings == [("evaluation.engine", "tfma")]
    assert module == {"training": {"epochs": 3, "seed": 7}}


def test_split_overrides_unknown_key_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"did you mean training\.epochs"):
        split_overrides(["trainin.epochs=3"])


def test_split_overrides_without_equals_sign_shows_the_form() -> None:
    with pytest.raises(ConfigError, match="give it as key=value"):
        split_overrides(["training.epochs"])


def test_override_module_changes_only_what_is_named() -> None:
    changed = override_module(CONFIG, {"training": {"epochs": 3}})
    assert changed.training.epochs == 3
    assert changed.training.batch_size == CONFIG.training.batch_size


def test_override_module_wrong_value_is_told_with_its_key() -> None:
    with pytest.raises(ConfigError, match=r"--set training\.epochs=0"):
        override_module(CONFIG, {"training": {"epochs": 0}})


@pytest.mark.parametrize("value", [None, float("inf"), float("nan"), [1, None], {"deep": float("-inf")}])
def test_override_module_hyperparameter_that_json_lacks_is_refused_by_name(value: object) -> None:
    with pytest.raises(ConfigError, match=r"--set hyperparameters\.l2="):
        override_module(CONFIG, {"hyperparameters": {"l2": value}})


def test_override_module_threshold_of_another_task_is_refused() -> None:
    with pytest.raises(ConfigError, match="auc"):
        override_module(CONFIG, {"thresholds": [{"metric": "auc", "min": 0.9}]})


def test_override_module_unknown_key_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"--set training\.epoch: .*did you mean training\.epochs"):
        override_module(CONFIG, {"training": {"epoch": 3}})
