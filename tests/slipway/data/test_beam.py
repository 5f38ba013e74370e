import json
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from kfp import dsl
from pydantic import ValidationError

from slipway.data.beam import BeamConfig, BeamRun, scratch_folder
from slipway.stores import storage


def test_beam_config_without_anything_stays_in_this_process() -> None:
    assert BeamConfig().runner == "in_process"
    assert BeamRun().in_process
    assert BeamRun().flags == ["--runner=FnApiRunner"]


@pytest.mark.parametrize(
    ("given", "facts"),
    [
        ({"option": []}, ["option"]),
        ({"runner": "spark"}, ["in_process", "dataflow", "flink", "portable"]),
        ({"options": ["--runner=DataflowRunner"]}, ["--runner=DataflowRunner", "beam.runner", "dataflow"]),
        ({"options": ["--runner DataflowRunner"]}, ["--runner DataflowRunner", "beam.runner"]),
        ({"options": ["--num_workers", "3"]}, ["'3'", "--flag=value"]),
        ({"runner": "flink"}, ["flink", "beam.job_endpoint", "HOST:PORT"]),
        ({"runner": "portable", "job_endpoint": "http://jobs:8099"}, ["http://jobs:8099"]),
    ],
)
def test_beam_config_that_cannot_work_is_refused(given: dict[str, object], facts: list[str]) -> None:
    with pytest.raises(ValidationError) as raised:
        BeamConfig.model_validate(given)
    for fact in facts:
        assert fact in str(raised.value)


def test_beam_run_reads_its_flags_where_they_lie(tmp_path: Path) -> None:
    (tmp_path / "flags.json").write_text(json.dumps(["--max_num_workers=3"]))
    run = BeamRun(runner="dataflow", image="slipway@sha256:1", flags_uri=str(tmp_path / "flags.json"))
    assert run.flags == [
        "--runner=DataflowRunner",
        "--sdk_container_image=slipway@sha256:1",
        "--max_num_workers=3",
    ]


def test_beam_run_names_artifacts_by_uri_for_other_machines_only() -> None:
    model = dsl.Model(uri="gs://bucket/model")
    assert BeamRun(runner="flink").place(model) == "gs://bucket/model"
    assert BeamRun().place(model) == "/gcs/bucket/model"


@pytest.mark.parametrize("uri", ["s3://bucket/model", "minio://mlpipeline/v2/artifacts/model"])
def test_artifacts_on_s3_are_named_by_a_uri_that_workers_can_read(uri: str) -> None:
    place = BeamRun(runner="flink").place(dsl.Model(uri=uri))
    assert place == uri
    assert storage.is_remote(place)


def test_scratch_folder_lies_below_temp_location_and_goes(tmp_path: Path) -> None:
    with scratch_folder(PipelineOptions([f"--temp_location={tmp_path}"])) as scratch:
        assert Path(scratch).parent == tmp_path
        Path(scratch).mkdir()
    assert list(tmp_path.iterdir()) == []
