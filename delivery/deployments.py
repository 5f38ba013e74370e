"""Records of deployments: one small, immutable file for each deployed unit.

`<home>/deployments/<environment>/<unit>/<time>-<hash>.json`; the last by name says what the environment has now. A unit
is `module-<name>` (its training), `pipeline-<pipeline>-<name>` or `manifests`. The file is written after the
unit is deployed, so the next plan repeats what failed.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict, ValidationError

from slipway.errors import StoreError
from slipway.stores import storage
from slipway.targets import DEFAULT_PIPELINE

MANIFESTS = "manifests"
BASE = "base"
READERS = 8  # of what is in a bucket, at once


class Deployment(BaseModel):
    """One deployed unit.

    Attributes:
        unit: Its name, as above.
        environment: Where; `base` for base.yaml alone.
        key: Digests and names that identify its content.
        revision: The commit.
        image: By digest.
        run: Name of the run that was submitted, and `url` its address.
        failed: Whether that run was watched and failed; the next plan submits it again.
        finished: When this was written.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    unit: str
    environment: str
    key: dict[str, str]
    revision: str
    image: str = ""
    run: str = ""
    url: str = ""
    failed: bool = False
    finished: datetime


def module_unit(module: str, pipeline: str) -> str:
    """The unit of a module's runs of one pipeline."""
    return f"module-{module}" if pipeline == DEFAULT_PIPELINE else f"pipeline-{pipeline}-{module}"


def record(home: str, deployment: Deployment) -> None:
    """Writes that something was deployed."""
    content = deployment.model_dump_json(indent=1)
    moment = deployment.finished.astimezone(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    name = f"{moment}-{hashlib.sha256(content.encode()).hexdigest()[:12]}.json"
    storage.write_text(storage.join(home, "deployments", deployment.environment, deployment.unit, name), content)


def read_latest(home: str, environment: str | None) -> dict[str, Deployment]:
    """What an environment has now, by unit.

    Raises:
        StoreError: a record cannot be read.
    """
    folder = storage.join(home, "deployments", environment or BASE)
    newest: dict[str, str] = {}
    for file in storage.list_files(folder):
        unit, _, name = file.name.partition("/")
        if name.endswith(".json"):
            newest[unit] = max(newest.get(unit, ""), file.name)

    def read(name: str) -> Deployment:
        uri = storage.join(folder, name)
        try:
            return Deployment.model_validate_json(storage.read_bytes(uri))
        except ValidationError as error:
            raise StoreError(
                f"{uri} is not a deployment record; remove it, and the next deploy repeats that unit"
            ) from error

    with ThreadPoolExecutor(READERS) as readers:
        return dict(zip(newest, readers.map(read, newest.values()), strict=True))
