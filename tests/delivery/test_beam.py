"""What the settings make of Beam's flags, and that a change of them runs no step again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from delivery.beam import beam_flags, beam_run
from delivery.environment import Environment
from settings.schema import Settings
from slipway.errors import ConfigError

IMAGE = f"europe-west4-docker.pkg.dev/my-project/slipway/slipway@sha256:{'1' * 64}"
VERTEX = {
    "project": "my-project",
    "location": "europe-west4",
    "service_account": "steps@my-project.iam.gserviceaccount.com",
    "network": "projects/12345/global/networks/vpc",
    "encryption_key": "projects/P/locations/L/keyRings/R/cryptoKeys/K",
    "labels": {"team": "rides"},
}


def environment(home: Path, beam: dict[str, Any], **others: Any) -> Environment:
    return Environment("staging", Settings.model_validate({"home": home, "beam": beam, **others}))


def flags(environment: Environment, image: str = IMAGE) -> list[str]:
    run = beam_run(environment, "local", image)
    return list(json.loads(Path(run.flags_uri).read_text()))


def test_in_process_runs_have_no_flags_and_write_nothing(tmp_path: Path) -> None:
    run = beam_run(environment(tmp_path, {}), "local", IMAGE)
    assert run.model_dump() == {"runner": "in_process", "image": "", "flags_uri": ""}
    assert not list(tmp_path.iterdir())


def test_dataflow_takes_what_the_environment_knows(tmp_path: Path) -> None:
    its = environment(tmp_path, {"runner": "dataflow", "options": ["--max_num_workers=9"]}, vertex=VERTEX, image=IMAGE)
    assert flags(its) == [
        f"--temp_location={tmp_path}/beam/temp",
        "--project=my-project",
        "--region=europe-west4",
        "--service_account_email=steps@my-project.iam.gserviceaccount.com",
        "--network=vpc",
        "--dataflow_kms_key=projects/P/locations/L/keyRings/R/cryptoKeys/K",
        "--sdk_location=container",
        "--label=slipway-environment=staging",
        "--label=team=rides",
        "--max_num_workers=9",
    ]
    assert beam_run(its, "local", "slipway-python@sha256:2").image == IMAGE, "a local run has no image of its own"


def test_dataflow_flags_that_are_given_replace_derived_ones(tmp_path: Path) -> None:
    given = ["--region=us-east1", "--subnetwork=regions/us-east1/subnetworks/s", "--no_use_public_ips"]
    found = flags(environment(tmp_path, {"runner": "dataflow", "options": given}, vertex=VERTEX, image=IMAGE))
    assert [one for one in found if one.startswith("--region")] == ["--region=us-east1"]
    assert not [one for one in found if one.startswith("--network")]
    assert found[-3:] == given


@pytest.mark.parametrize("missing", ["project", "location"])
def test_dataflow_without_project_or_region_says_what_to_set(tmp_path: Path, missing: str) -> None:
    its = environment(tmp_path, {"runner": "dataflow"}, vertex={**VERTEX, missing: ""}, image=IMAGE)
    with pytest.raises(ConfigError, match=rf"vertex\.{missing} is not set.*beam\.options"):
        flags(its)


def test_dataflow_without_an_image_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"image.*REPOSITORY@sha256"):
        flags(environment(tmp_path, {"runner": "dataflow"}, vertex=VERTEX))


@pytest.mark.parametrize("runner", ["flink", "portable"])
def test_job_servers_get_address_pool_and_a_shared_folder(tmp_path: Path, runner: str) -> None:
    its = environment(tmp_path, {"runner": runner, "job_endpoint": "jobs:8099", "temp_location": "/shared"})
    found = flags(its)
    assert {"--temp_location=/shared", "--job_endpoint=jobs:8099", "--environment_type=EXTERNAL",
            "--environment_config=localhost:50000"} <= set(found)  # fmt: skip
    assert beam_run(its, "local", IMAGE).image == "", "the pool has the image"


def test_flags_that_do_not_decide_the_result_are_not_in_the_parameter(tmp_path: Path) -> None:
    """What a step is given is the key of the cache."""
    beam = {"runner": "flink", "job_endpoint": "jobs:8099"}
    one = beam_run(environment(tmp_path, beam), "local", IMAGE)
    written = Path(one.flags_uri).read_text()
    other = beam_run(environment(tmp_path, {**beam, "options": ["--parallelism=40"]}), "local", IMAGE)
    assert one == other
    assert Path(other.flags_uri).read_text() != written
    assert beam_run(environment(tmp_path, {**beam, "runner": "portable"}), "local", IMAGE) != one


def test_rehearsal_writes_no_flags(tmp_path: Path) -> None:
    its = environment(tmp_path, {"runner": "flink", "job_endpoint": "jobs:8099"})
    assert beam_run(its, "local", IMAGE, publish=False) == beam_run(its, "local", IMAGE)


def test_engine_with_its_state_on_s3_needs_another_folder_for_what_tensorflow_writes(tmp_path: Path) -> None:
    beam = {"runner": "flink", "job_endpoint": "jobs:8099"}
    its = environment(tmp_path, beam, remote_home="s3://bucket/slipway")
    with pytest.raises(ConfigError, match=r"flink.*s3://bucket/slipway/beam/temp.*set beam\.temp_location"):
        beam_run(its, "kubeflow", IMAGE, publish=False)
    shared = environment(tmp_path, {**beam, "temp_location": "/shared"}, remote_home="s3://bucket/slipway")
    assert beam_run(shared, "kubeflow", IMAGE, publish=False).flags_uri.startswith("s3://bucket/slipway/beam/")


@pytest.mark.parametrize("runner", ["in_process", "flink"])
@pytest.mark.parametrize("temp", ["s3://bucket/temp", "minio://mlpipeline/temp"])
def test_temporary_folder_on_s3_in_the_options_is_refused_as_in_the_setting(
    tmp_path: Path, runner: str, temp: str
) -> None:
    beam = {"runner": runner, "job_endpoint": "jobs:8099", "temp_location": "/shared"}
    its = environment(tmp_path, {**beam, "options": [f"--temp_location={temp}"]})
    with pytest.raises(ConfigError, match=rf"{runner}.*{temp}.*set --temp_location in beam\.options"):
        beam_run(its, "local", IMAGE, publish=False)


def test_temporary_folder_in_the_options_serves_state_on_s3(tmp_path: Path) -> None:
    beam = {"runner": "flink", "job_endpoint": "jobs:8099", "options": ["--temp_location=/shared"]}
    its = environment(tmp_path, beam, remote_home="s3://bucket/slipway")
    found = beam_flags(its, "s3://bucket/slipway/beam")
    assert [one for one in found if one.startswith("--temp_location")] == ["--temp_location=/shared"]


@pytest.mark.parametrize("root", ["s3://bucket/artifacts", "minio://mlpipeline/v2/artifacts"])
def test_dataflow_has_no_login_to_artifacts_on_s3(tmp_path: Path, root: str) -> None:
    its = environment(
        *(tmp_path, {"runner": "dataflow"}),
        vertex=VERTEX, image=IMAGE, kubeflow={"pipeline_root": root}, remote_home="gs://bucket/slipway",
    )  # fmt: skip
    with pytest.raises(ConfigError, match=rf"{root}.*Google's login alone.*kubeflow\.pipeline_root"):
        beam_run(its, "kubeflow", IMAGE, publish=False)
