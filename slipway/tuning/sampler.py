"""Optuna samples, and remembers nothing: each draw is a function of the seed and of the finished trials."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from slipway.errors import ModuleError
from slipway.tuning.space import FUNCTION, Space, Values
from slipway.tuning.trials import Trial

if TYPE_CHECKING:
    import optuna

FEWEST = 6  # trials from which on importance says something
DRAWS = 20
_SEEDS = 1_000_003  # of one search, apart from those of the next seed


def draw(
    space: Space, number: int, seed: int, own: Values, finished: Sequence[Trial], costs: Mapping[int, float]
) -> Trial:
    """Trial `number`, not judged yet: module.yaml's own values first, then what TPE draws from those that are finished.

    Source: J. Bergstra et al., "Algorithms for Hyper-Parameter Optimization", NeurIPS 2011.

    Args:
        space: What is drawn from.
        number: Of the trial.
        seed: Of the search.
        own: All hyperparameters of module.yaml, and the keys of `training` that can be tuned.
        finished: Trials of lower numbers.
        costs: Of each trial with a value, lower for a better one; for those that were pruned, at their last rung.
    """
    import optuna

    study = _study(optuna.samplers.TPESampler(seed=seed * _SEEDS + number, constant_liar=True))
    for one in finished:
        if one.parameters and one.number in costs:
            study.add_trial(_frozen(one, costs[one.number]))
    if number == 0:
        study.enqueue_trial(space.parameters(own))
    asked = study.ask()
    with warnings.catch_warnings():  # module.yaml's own values may lie outside of the space
        warnings.simplefilter("ignore", UserWarning)
        values = space.draw(asked)
    new = Trial(number=number, state="failed", values=values, seed=seed, drawn_from=[one.number for one in finished])
    defaults = own.flat()
    for name in values.flat():
        if name not in defaults:
            raise ModuleError(f"model.py: {FUNCTION} returns {name!r}; each needs a default under hyperparameters")
    if number == 0:
        new.values = Values.of({name: defaults[name] for name in values.flat()})
        if values != new.values or not _lies_in_space(asked):  # the sampler does not learn from them
            return new
    kinds = {name: optuna.distributions.distribution_to_json(kind) for name, kind in asked.distributions.items()}
    return new.model_copy(update={"parameters": asked.params, "distributions": kinds})


def searched_names(space: Space) -> list[str]:
    """The names that draws give values to; of several draws, since a function may give a name now and then.

    Raises:
        ModuleError: no draw succeeds.
    """
    import optuna

    study, names, failed = _study(optuna.samplers.RandomSampler(0)), dict[str, None](), []
    for _ in range(DRAWS):
        try:
            names |= dict.fromkeys(space.draw(study.ask()).flat())
        except ModuleError as error:
            failed.append(error)
    if len(failed) == DRAWS:
        raise failed[0]
    return list(names)


def importance(finished: Sequence[Trial], costs: Mapping[int, float]) -> dict[str, float]:
    """How much each parameter that all trials have decides the cost, as shares; empty where trials are too few.

    Source: S. Watanabe et al., "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance", IJCAI 2023.
    """
    known = [one for one in finished if one.state == "complete" and one.parameters and one.number in costs]
    if len(known) < FEWEST or len({costs[one.number] for one in known}) == 1:
        return {}
    import optuna

    study = _study()
    study.add_trials([_frozen(one, costs[one.number]) for one in known])
    return dict(
        optuna.importance.get_param_importances(study, evaluator=optuna.importance.PedAnovaImportanceEvaluator())
    )


def _study(sampler: optuna.samplers.BaseSampler | None = None) -> optuna.Study:
    """A study in memory, which prints nothing."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study(sampler=sampler)


def _lies_in_space(asked: optuna.Trial) -> bool:
    """Whether Optuna takes these values back: it draws what it is told to, with a warning, wherever that lies."""
    import optuna

    try:
        optuna.trial.create_trial(params=asked.params, distributions=asked.distributions, value=0.0)
    except ValueError:
        return False
    return True


def _frozen(one: Trial, cost: float) -> optuna.trial.FrozenTrial:
    import optuna

    kinds = {name: optuna.distributions.json_to_distribution(text) for name, text in one.distributions.items()}
    if one.state == "complete":
        return optuna.trial.create_trial(params=one.parameters, distributions=kinds, value=cost)
    step = max(one.rungs)
    return optuna.trial.create_trial(
        state=optuna.trial.TrialState.PRUNED,
        params=one.parameters,
        distributions=kinds,
        intermediate_values={step: cost},
    )
