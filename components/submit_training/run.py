"""Submits the training that is pending, once, and says so in the run's outcome."""

from collections.abc import Mapping
from typing import Any

from slipway.monitoring.claim import claimed
from slipway.platforms.prepared import open_starter
from slipway.runs.naming import name_by_key
from slipway.runs.record import Outcome, RunContext
from slipway.runs.store import OUTCOME
from slipway.runs.summary import read_record
from slipway.stores import storage


def submit(module: str, training_uri: str, monitoring_uri: str, fields: Mapping[str, Any], run: RunContext) -> str:
    """Answers what was done, as Markdown. If it fails, the training stays pending.

    Args:
        module: The model's name.
        training_uri: The prepared run of the training.
        monitoring_uri: Where the windows and the states of all models are.
        fields: What the training is given of the monitor's own fields.
        run: This run.
    """
    with claimed(storage.join(monitoring_uri, module), run.lineage.run) as claim:
        if claim.other:
            return f"{_said(f'the training is being submitted by {claim.other}')}\n"
        if not claim.key:
            return f"{_said('no training is asked for')}\n"
        name, starter = name_by_key(module, claim.key), open_starter(training_uri)
        started = starter.find(name) or starter.start(name, fields)
    _tell(_said(f"the training is the run {name}: {started.page}"), run)
    return f"The training is [{name}]({started.page}).\n"


def _said(text: str) -> str:
    print(text)
    return text


def _tell(said: str, run: RunContext) -> None:
    """Adds it to the reasons of the run's outcome, of which people are told."""
    outcome = read_record(run.uri, OUTCOME, Outcome)
    if outcome and said not in outcome.reasons:
        told = outcome.model_copy(update={"reasons": [*outcome.reasons, said]})
        storage.write_text(storage.join(run.uri, OUTCOME), told.model_dump_json(indent=1))
