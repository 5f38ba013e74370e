"""A second pipeline: two steps, which count the rows of a file and judge the count. Nothing else knows of it."""

from collections.abc import Mapping
from typing import Any

from kfp import dsl
from kfp.dsl.base_component import BaseComponent

from components import component
from pipelines.platform import Steps, TaskDefaults
from pipelines.registry import Inputs, Pipeline, register
from slipway.lineage import Shows, Verdict


@component()
def count_rows(data_uri: str, counted_rows: dsl.Output[dsl.Artifact], page: dsl.Output[dsl.HTML]) -> None:
    """Counts the rows of a CSV file."""
    from pathlib import Path

    from slipway.stores import storage

    rows = len(storage.read_text(data_uri).splitlines()) - 1
    storage.write_text(f"{counted_rows.path}/rows.txt", str(rows))
    Path(page.path).write_text(f"<!doctype html><p>{rows} rows were counted</p>")


@component()
def judge_rows(counted_rows: dsl.Input[dsl.Artifact], least: int, run: str, job: str, job_created: str) -> None:
    """Comes to a verdict."""
    from slipway.runs.naming import name_run
    from slipway.runs.record import Outcome
    from slipway.stores import storage

    rows = int(storage.read_text(f"{counted_rows.path}/rows.txt"))
    outcome = Outcome(verdict="enough" if rows >= least else "short", reasons=[f"{rows} rows, at least {int(least)}"])
    storage.write_text(storage.join(name_run(run, job, job_created).uri, "outcome.json"), outcome.model_dump_json())


def build(defaults: TaskDefaults, given: Mapping[str, Any]) -> BaseComponent:
    @dsl.pipeline(name="slipway-counting")
    def counting(data_uri: str = given["data_uri"], least: int = given["least"]) -> None:
        known = {**given, **locals()}
        with defaults.recorded(known, "slipway-counting"):
            steps = Steps(defaults, known)
            steps.add(count_rows, "Count the rows")
            steps.add(judge_rows, "Judge the rows", cached=False)

    return counting


def arguments(inputs: Inputs) -> dict[str, Any]:
    return {"data_uri": inputs.data_uri, "least": inputs.config.training.batch_size}


COUNTING = Pipeline(
    name="counting",
    build=build,
    arguments=arguments,
    shows=Shows(
        pages={"Rows of the file": "count_rows.page"},
        verdicts={
            "enough": Verdict(text="given enough rows", news="there are enough rows"),
            "short": Verdict(text="given too few rows", news="there are too few rows", tone="warn"),
        },
    ),
)
register(COUNTING)
