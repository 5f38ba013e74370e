"""Apache Beam's configuration in the steps that use it."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from slipway.errors import ConfigError
from slipway.stores import storage

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

IN_PROCESS = "--runner=FnApiRunner"


class BeamConfig(BaseModel):
    """Apache Beam, which TensorFlow Transform and the `tfma` engine run on.

    Attributes:
        options: Beam's pipeline options, as on its command line: `--runner=DataflowRunner`, `--region=…`. Workers on
            other machines need `--temp_location`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    options: list[str] = [IN_PROCESS]

    @property
    def flags(self) -> list[str]:
        """The options, with a runner: Beam's default would contact another program on the network."""
        named = any(option.startswith("--runner") for option in self.options)
        return self.options if named else [IN_PROCESS, *self.options]

    @property
    def in_process(self) -> bool:
        """Whether Beam runs in this process."""
        return self.flags[0] == IN_PROCESS

    def worker_path(self, path: str) -> str:
        """The path for Beam's workers: outside Vertex nothing is mounted under `/gcs`.

        Raises:
            ConfigError: workers on other machines cannot read it.
        """
        if self.in_process:
            return path
        if path.startswith(("/s3/", "/minio/")):
            raise ConfigError(
                f"{path}: Beam's workers on other machines read no S3; evaluate by evaluation.engine: vectorised, or "
                f"set beam.options to [{IN_PROCESS}]"
            )
        if not path.startswith("/gcs/"):
            return path
        return f"gs://{path.removeprefix('/gcs/')}"


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
