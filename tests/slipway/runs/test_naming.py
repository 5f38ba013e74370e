from datetime import UTC, datetime
from typing import Any

import pytest

from slipway.errors import ConfigError
from slipway.lineage import Lineage
from slipway.runs.naming import JOB, job_id, name_run, new_run_name, run_name_of
from slipway.runs.record import RunContext
from slipway.targets import Target

UUID = "90d63664-0f4f-41ec-91be-9419156db005"
RESOURCE = "projects/123/locations/europe-west4/pipelineJobs/taxi-20260102-030405-a336"


def given(target: Target, uri: str = "r", **changes: Any) -> str:
    """The argument `run` of a run on a platform."""
    lineage = Lineage(run=run_name_of(target, "taxi"), module="taxi", module_digest="m", data_uri="d", target=target)
    return RunContext(uri=uri, lineage=lineage, **changes).model_dump_json()


def test_name_run_of_this_machine_changes_nothing() -> None:
    lineage = Lineage(run=new_run_name("taxi"), module="taxi", module_digest="m", data_uri="d", started=1.0)
    context = RunContext(uri="/home/runs/taxi-1", lineage=lineage)
    assert name_run(context.model_dump_json(), UUID, "2026-01-02T03:04:05Z") == context


COMPILED = {"data_uri": "d", "window": 1, "epochs": 10, "seed": 42, "hyperparameters": '{"units": 8, "rate": 0.1}'}


def named_with(fields: dict[str, Any], compiled: dict[str, Any] | None = None) -> Lineage:
    lineage = Lineage(run="taxi-1", module="taxi", module_digest="m", data_uri="d", seed=42,
                      hyperparameters={"units": 8, "rate": 0.1}, overrides={"evaluation.engine": "tfma"})  # fmt: skip
    context = RunContext(uri="r", lineage=lineage, fields=COMPILED if compiled is None else compiled)
    return name_run(context.model_dump_json(), UUID, "", **fields).lineage


@pytest.mark.parametrize(
    ("field", "overrides", "attributes"),
    [
        ({}, {}, {}),
        ({"epochs": 10.0, "hyperparameters": '{"rate": 0.1}'}, {}, {}),
        ({"data_uri": "e"}, {}, {"data_uri": "e"}),
        ({"window": 3.0}, {"ingestion.window": 3}, {}),
        ({"epochs": 3}, {"training.epochs": 3}, {}),
        ({"seed": 7}, {"training.seed": 7}, {"seed": 7}),
        (
            {"hyperparameters": '{"units": 8.0}'},
            {"hyperparameters.units": 8.0},
            {"hyperparameters": {"units": 8.0, "rate": 0.1}},
        ),
        ({"hyperparameters": ""}, {}, {}),
        ({"hyperparameters": "{units: 8}"}, {"hyperparameters": "{units: 8}"}, {}),
        ({"hyperparameters": '{"depth": 2}'}, {"hyperparameters": '{"depth": 2}'}, {}),
    ],
)
def test_name_run_has_what_the_run_was_given(
    field: dict[str, Any], overrides: dict[str, Any], attributes: dict[str, Any]
) -> None:
    plain, given = named_with(COMPILED), named_with(COMPILED | field)
    assert repr(given.overrides) == repr({"evaluation.engine": "tfma"} | overrides)
    assert repr(given) == repr(plain.model_copy(update={**attributes, "overrides": given.overrides}))


def test_name_run_looks_at_no_field_that_the_pipeline_has_not() -> None:
    given = {"epochs": 1, "data_uri": "e", "rolled_back": object()}
    assert named_with(given, {"data_uri": "d"}).overrides == {"evaluation.engine": "tfma"}


@pytest.mark.parametrize(
    "created", ["2026-01-02T03:04:05Z", "2026-01-02T03:04:05.678+00:00", "2026-01-02T04:04:05+01:00"]
)
def test_name_run_of_kubeflow_is_the_module_and_the_job(created: str) -> None:
    named = name_run(given("kubeflow", "gs://b/runs/taxi-{job}?scheme=http"), UUID, created)
    assert named.lineage.run == f"taxi-{UUID}"
    assert named.uri == f"gs://b/runs/taxi-{UUID}?scheme=http"
    assert int(named.lineage.started) == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp()
    assert named.lineage.module == "taxi"


def test_name_run_of_vertex_is_the_jobs_own() -> None:
    named = name_run(given("vertex", "gs://b/runs/{job}"), RESOURCE, "2026-01-02T03:04:05Z")
    known = "taxi-20260102-030405-a336"
    assert (named.uri, named.lineage.run) == (f"gs://b/runs/{known}", known)


@pytest.mark.parametrize("created", ["", "{{$.pipeline_job_create_time_utc}}"], ids=["2.16", "2.14"])
def test_name_run_of_a_retry_is_the_same_whatever_the_platform_says_of_the_time(created: str) -> None:
    run = given("kubeflow")
    names = {name_run(run, UUID, told).lineage.run for told in (created, "2026-01-02T03:04:05Z")}
    assert len(names) == 1
    assert name_run(run, UUID, created).lineage.started == 0.0


@pytest.mark.parametrize("job", ["", "{{$.pipeline_job_uuid}}", "..", "a/../b/.."])
def test_name_run_without_an_id_is_refused(job: str) -> None:
    with pytest.raises(ConfigError, match=r"job = .*2\.14"):
        name_run(given("kubeflow"), job, "")


@pytest.mark.parametrize(("job", "known"), [(UUID, UUID), (RESOURCE, "taxi-20260102-030405-a336")])
def test_page_has_the_id_by_which_the_ui_knows_the_job(job: str, known: str) -> None:
    assert job_id(job) == known
    run = given("kubeflow", page=f"https://ui/runs/{JOB}?project=p")
    assert name_run(run, job, "").page == f"https://ui/runs/{known}?project=p"
    assert name_run(given("kubeflow"), job, "").page == ""
