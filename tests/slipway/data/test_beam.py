from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from pydantic import ValidationError

from slipway.data.beam import BeamConfig, scratch_folder
from slipway.errors import ConfigError


def test_beam_config_without_a_runner_stays_in_this_process() -> None:
    assert BeamConfig(options=["--direct_num_workers=1"]).flags == ["--runner=FnApiRunner", "--direct_num_workers=1"]
    assert BeamConfig().in_process


def test_beam_config_with_a_runner_keeps_it() -> None:
    config = BeamConfig(options=["--runner=DataflowRunner"])
    assert (config.flags, config.in_process) == (["--runner=DataflowRunner"], False)


def test_beam_config_with_an_unknown_key_is_refused() -> None:
    with pytest.raises(ValidationError):
        BeamConfig.model_validate({"option": []})


def test_beam_config_worker_path_below_gcs_is_a_uri_for_other_machines_only() -> None:
    elsewhere = BeamConfig(options=["--runner=DataflowRunner"])
    assert elsewhere.worker_path("/gcs/bucket/model") == "gs://bucket/model"
    assert elsewhere.worker_path("/home/model") == "/home/model"
    assert BeamConfig().worker_path("/gcs/bucket/model") == "/gcs/bucket/model"


def test_beam_config_workers_elsewhere_read_no_s3() -> None:
    with pytest.raises(ConfigError, match=r"/s3/bucket/model: .*evaluation.engine: vectorised"):
        BeamConfig(options=["--runner=FlinkRunner"]).worker_path("/s3/bucket/model")
    assert BeamConfig().worker_path("/s3/bucket/model") == "/s3/bucket/model"


def test_scratch_folder_lies_below_temp_location_and_goes(tmp_path: Path) -> None:
    with scratch_folder(PipelineOptions([f"--temp_location={tmp_path}"])) as scratch:
        assert Path(scratch).parent == tmp_path
        Path(scratch).mkdir()
    assert list(tmp_path.iterdir()) == []
