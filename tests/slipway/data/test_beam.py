import pytest
from pydantic import ValidationError

from slipway.data.beam import BeamConfig


def test_beam_config_without_a_runner_stays_in_this_process() -> None:
    assert BeamConfig(options=["--direct_num_workers=1"]).flags == ["--runner=FnApiRunner", "--direct_num_workers=1"]
    assert BeamConfig().in_process


def test_beam_config_with_a_runner_keeps_it() -> None:
    config = BeamConfig(options=["--runner=DataflowRunner"])
    assert (config.flags, config.in_process) == (["--runner=DataflowRunner"], False)


def test_beam_config_with_an_unknown_key_is_refused() -> None:
    with pytest.raises(ValidationError):
        BeamConfig.model_validate({"option": []})
