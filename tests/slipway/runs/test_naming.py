from datetime import UTC, datetime

import pytest

from slipway.runs.naming import name_run, new_run_name, recurring_run_name

UUID = "90d63664-0f4f-41ec-91be-9419156db005"


def test_name_run_of_a_single_run_changes_nothing() -> None:
    lineage = {"run": new_run_name("taxi"), "started": 1.0}
    assert name_run("gs://b/runs/taxi-1", lineage, UUID, "2026-01-02T03:04:05Z") == ("gs://b/runs/taxi-1", lineage)


@pytest.mark.parametrize(
    "created", ["2026-01-02T03:04:05Z", "2026-01-02T03:04:05.678+00:00", "2026-01-02T04:04:05+01:00"]
)
def test_name_run_of_a_recurring_run_is_by_time_and_job(created: str) -> None:
    recurring = {"run": recurring_run_name("taxi"), "started": 0.0, "module": "taxi"}
    uri, lineage = name_run("gs://b/runs/taxi-{job}?scheme=http", recurring, UUID, created)
    assert lineage["run"] == "taxi-20260102-030405-156db005"
    assert uri == "gs://b/runs/taxi-20260102-030405-156db005?scheme=http"
    assert int(lineage["started"]) == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp()
    assert lineage["module"] == "taxi"


def test_name_run_sorts_with_the_names_of_single_runs() -> None:
    recurring = {"run": recurring_run_name("taxi"), "started": 0.0}
    names = [name_run("r", recurring, UUID, f"20{year}-01-02T03:04:05Z")[1]["run"] for year in (20, 99)]
    assert names[0] < new_run_name("taxi") < names[1]


def test_name_run_where_the_platform_tells_no_time_is_still_unique() -> None:
    recurring = {"run": recurring_run_name("taxi"), "started": 0.0}
    untold = "{{$.pipeline_job_create_time_utc}}"
    names = {name_run("r", recurring, job, untold)[1]["run"] for job in (UUID, UUID.replace("9", "8"))}
    assert len(names) == 2
    assert max(names) < new_run_name("taxi")
