from datetime import UTC, datetime

import pytest

from slipway.errors import ConfigError
from slipway.runs.naming import JOB, job_id, name_run, new_run_name, page_of, run_name_of

UUID = "90d63664-0f4f-41ec-91be-9419156db005"
RESOURCE = "projects/123/locations/europe-west4/pipelineJobs/taxi-20260102-030405-a336"


def test_name_run_of_this_machine_changes_nothing() -> None:
    lineage = {"run": new_run_name("taxi"), "started": 1.0}
    assert name_run("/home/runs/taxi-1", lineage, UUID, "2026-01-02T03:04:05Z") == ("/home/runs/taxi-1", lineage)


@pytest.mark.parametrize(
    "created", ["2026-01-02T03:04:05Z", "2026-01-02T03:04:05.678+00:00", "2026-01-02T04:04:05+01:00"]
)
def test_name_run_of_kubeflow_is_the_module_and_the_job(created: str) -> None:
    given = {"run": run_name_of("kubeflow", "taxi"), "started": 0.0, "module": "taxi"}
    uri, lineage = name_run("gs://b/runs/taxi-{job}?scheme=http", given, UUID, created)
    assert lineage["run"] == f"taxi-{UUID}"
    assert uri == f"gs://b/runs/taxi-{UUID}?scheme=http"
    assert int(lineage["started"]) == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp()
    assert lineage["module"] == "taxi"


def test_name_run_of_vertex_is_the_jobs_own() -> None:
    given = {"run": run_name_of("vertex", "taxi")}
    uri, lineage = name_run(f"gs://b/runs/{given['run']}", given, RESOURCE, "2026-01-02T03:04:05Z")
    assert (uri, lineage["run"]) == ("gs://b/runs/taxi-20260102-030405-a336", "taxi-20260102-030405-a336")


@pytest.mark.parametrize("created", ["", "{{$.pipeline_job_create_time_utc}}"], ids=["2.16", "2.14"])
def test_name_run_of_a_retry_is_the_same_whatever_the_platform_says_of_the_time(created: str) -> None:
    given = {"run": run_name_of("kubeflow", "taxi"), "started": 0.0}
    names = {name_run("r", given, UUID, told)[1]["run"] for told in (created, "2026-01-02T03:04:05Z")}
    assert len(names) == 1
    assert name_run("r", given, UUID, created)[1]["started"] == 0.0


@pytest.mark.parametrize("job", ["", "{{$.pipeline_job_uuid}}", "..", "a/../b/.."])
def test_name_run_without_an_id_is_refused(job: str) -> None:
    given = {"run": run_name_of("kubeflow", "taxi"), "started": 0.0}
    with pytest.raises(ConfigError, match=r"job = .*2\.14"):
        name_run("r", given, job, "")


@pytest.mark.parametrize(("job", "known"), [(UUID, UUID), (RESOURCE, "taxi-20260102-030405-a336")])
def test_page_of_has_the_id_by_which_the_ui_knows_the_job(job: str, known: str) -> None:
    assert job_id(job) == known
    assert page_of(f"https://ui/runs/{JOB}?project=p", job) == f"https://ui/runs/{known}?project=p"
    assert page_of("", "no id") == ""
