"""How the steps that use Apache Beam run it: in this process, on Dataflow, on Flink, or at any portable job service."""

from __future__ import annotations

import json
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from slipway.stores import storage

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions
    from kfp import dsl

Runner = Literal["in_process", "dataflow", "flink", "portable"]
_RUNNERS: dict[Runner, str] = {
    "in_process": "FnApiRunner",
    "dataflow": "DataflowRunner",
    "flink": "FlinkRunner",
    "portable": "PortableRunner",
}


class BeamConfig(BaseModel):
    """Apache Beam, which TensorFlow Transform and the `tfma` engine run on: [beam.md](beam.md).

    Attributes:
        runner: Engine. `in_process` needs no other machine. `dataflow` takes project, region, account, network, key,
            labels and image from the other settings; `flink` and `portable` send jobs to `job_endpoint`.
        job_endpoint: Address of Beam's job server, `HOST:PORT`, for `flink` and `portable`.
        worker_pool: Address of the pool that starts workers, as the engine's machines see it.
        temp_location: Folder that all workers can write, for what the engine and TensorFlow Transform write meanwhile:
            on gs://, or a disk that they share; `<remote_home>/beam/temp` if empty.
        options: Further flags of Beam's pipelines: `[--max_num_workers=20]`. They come last, so that they override what
            is derived, and a change of them runs no step again.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    runner: Runner = "in_process"
    job_endpoint: str = Field("", pattern=r"^([^/\s]+:\d+)?$")
    worker_pool: str = Field("localhost:50000", pattern=r"^[^/\s]+:\d+$")
    temp_location: str = ""
    options: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _require_complete(self) -> Self:
        if named := [one for one in self.options if one.split("=")[0].split()[0:1] == ["--runner"]]:
            raise ValueError(
                f"beam.options has {named[0]!r}: name the runner in beam.runner, one of {', '.join(_RUNNERS)}"
            )
        if loose := [one for one in self.options if not one.startswith("--")]:
            raise ValueError(f"beam.options has {loose[0]!r}: write each flag and its value as one text, --flag=value")
        if self.runner in ("flink", "portable") and not self.job_endpoint:
            raise ValueError(
                f"beam.runner = {self.runner} needs beam.job_endpoint, the address of Beam's job server as HOST:PORT"
            )
        return self


class BeamRun(BaseModel):
    """The parameter `beam` of the steps: what decides a result, and where the flags are that do not.

    Attributes:
        runner: As in the settings.
        image: Image of the workers, where the engine starts them by it.
        flags_uri: JSON list of flags; empty if there are none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    runner: Runner = "in_process"
    image: str = ""
    flags_uri: str = ""

    @property
    def in_process(self) -> bool:
        """Whether Beam runs in this process."""
        return self.runner == "in_process"

    @property
    def flags(self) -> list[str]:
        """All flags of a pipeline."""
        image = [f"--sdk_container_image={self.image}"] if self.image else []
        further = json.loads(storage.read_text(self.flags_uri)) if self.flags_uri else []
        return [f"--runner={_RUNNERS[self.runner]}", *image, *further]

    def place(self, artifact: dsl.Artifact) -> str:
        """Where Beam's workers find an artifact: its URI, since its path is mounted in this step alone."""
        return str(artifact.path if self.in_process else artifact.uri)


@contextmanager
def scratch_folder(options: PipelineOptions) -> Iterator[str]:
    """A temporary folder: on this machine's disk, or below `--temp_location`, which workers share."""
    from apache_beam.options.pipeline_options import GoogleCloudOptions

    shared = options.view_as(GoogleCloudOptions).temp_location
    if not shared:
        with tempfile.TemporaryDirectory(prefix="slipway-beam-") as folder:
            yield folder
        return
    folder = storage.join(shared, f"slipway-{uuid.uuid4().hex}")
    try:
        yield folder
    finally:
        storage.delete_folder(folder)
