import pytest

from delivery.overrides import override_module, parse_pairs, split_overrides
from slipway.errors import ConfigError
from slipway.module_api import Label, ModuleConfig, Searched, Tuning

CONFIG = ModuleConfig(contract=1, task="regression", label=Label(column="y"))


def test_split_overrides_sends_each_key_where_it_belongs() -> None:
    settings, module = split_overrides(parse_pairs(["evaluation.engine=tfma", "training.epochs=3", "training.seed=7"]))
    assert settings == [("evaluation.engine", "tfma")]
    assert module == {"training": {"epochs": 3, "seed": 7}}


def test_split_overrides_unknown_key_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"did you mean training\.epochs"):
        split_overrides([("trainin.epochs", 3)])


def test_split_overrides_without_equals_sign_shows_the_form() -> None:
    with pytest.raises(ConfigError, match="give it as key=value"):
        parse_pairs(["training.epochs"])


def test_override_module_changes_only_what_is_named() -> None:
    changed = override_module(CONFIG, {"training": {"epochs": 3}})
    assert changed.training.epochs == 3
    assert changed.training.batch_size == CONFIG.training.batch_size


def test_override_module_wrong_value_is_told_with_its_key() -> None:
    with pytest.raises(ConfigError, match=r"--set .*training\.epochs = 0"):
        override_module(CONFIG, {"training": {"epochs": 0}})


@pytest.mark.parametrize("value", [None, float("inf"), float("nan"), [1, None], {"deep": float("-inf")}])
def test_override_module_hyperparameter_that_json_lacks_is_refused_by_name(value: object) -> None:
    config = CONFIG.model_copy(update={"hyperparameters": {"l2": 0.1}})
    with pytest.raises(ConfigError, match=r"hyperparameters\.l2"):
        override_module(config, {"hyperparameters": {"l2": value}})


def test_override_module_threshold_of_another_task_is_refused() -> None:
    with pytest.raises(ConfigError, match="auc"):
        override_module(CONFIG, {"thresholds": [{"metric": "auc", "min": 0.9}]})


def test_override_module_unknown_key_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"training\.epoch; did you mean training\.epochs"):
        override_module(CONFIG, {"training": {"epoch": 3}})


def test_parse_pairs_reads_an_exponent_as_a_number_as_module_yaml_does() -> None:
    assert parse_pairs(["hyperparameters.learning_rate=1e-3"]) == [("hyperparameters.learning_rate", 0.001)]


@pytest.mark.parametrize("pair", ["training={epochs: 1, epochs: 2}", "training={"])
def test_parse_pairs_value_that_is_no_yaml_or_gives_a_key_twice_is_refused(pair: str) -> None:
    with pytest.raises(ConfigError, match="--set training="):
        parse_pairs([pair])


def test_override_module_unknown_hyperparameter_names_the_nearest() -> None:
    config = CONFIG.model_copy(update={"hyperparameters": {"learning_rate": 0.1, "l2": 0.0}})
    with pytest.raises(ConfigError, match=r"--set hyperparameters\.learning_rat.*did you mean 'learning_rate'"):
        override_module(config, {"hyperparameters": {"learning_rat": 0.1}})
    assert override_module(config, {"hyperparameters": {"l2": 0.5}}).hyperparameters["l2"] == 0.5


def test_override_module_what_is_given_by_hand_is_not_searched() -> None:
    space = {"l2": Searched(min=0.0, max=1.0), "training.epochs": Searched(min=1, max=9)}
    config = CONFIG.model_copy(update={"hyperparameters": {"l2": 0.1}, "search_space": space})
    left = override_module(config, {"hyperparameters": {"l2": 0.2}}).search_space
    assert (left["training.epochs"], left["l2"].choices) == (config.search_space["training.epochs"], (0.2,))
    left = override_module(config, {"training": {"epochs": 2, "seed": 3}}).search_space
    assert {name: one.choices for name, one in left.items()} == {"l2": (), "training.epochs": (2,)}
    by_function = config.model_copy(update={"search_space": {}, "tuning": Tuning()})
    left = override_module(by_function, {"hyperparameters": {"l2": 0.2}}).search_space
    assert {name: one.choices for name, one in left.items()} == {"l2": (0.2,)}
    everything = {"hyperparameters": {"l2": 0.2}, "training": {"epochs": 2}, "tuning": {"trials": 3}}
    assert not override_module(config, everything).is_tuned
    changed = override_module(config, {"tuning": {"trials": 30}})
    assert changed.tuning is not None
    assert (changed.tuning.trials, list(changed.search_space)) == (30, list(space))


def test_override_module_tuning_needs_something_to_search() -> None:
    with pytest.raises(ConfigError, match="search_space"):
        override_module(CONFIG, {"tuning": {"trials": 30}})
    space = {"training.epochs": {"min": 1, "max": 9}}
    changed = override_module(CONFIG, {"tuning": {"trials": 30}, "search_space": space})
    assert changed.tuning is not None
    assert (changed.tuning.trials, list(changed.search_space)) == (30, list(space))


def test_split_overrides_requirements_are_not_of_one_run() -> None:
    with pytest.raises(ConfigError, match=r"--set requirements: .*slipway module lock"):
        split_overrides(parse_pairs(["requirements=[numpy]"]))
