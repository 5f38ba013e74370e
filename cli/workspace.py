"""Where things are for a command: the project's modules and what lies under the home of local runs."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.platform import Locations
    from settings.schema import Settings

PROJECT = Path(__file__).parent.parent
LOCK = PROJECT / "requirements.lock"


def local_locations(settings: Settings) -> Locations:
    """Everything of local runs lies under `home`, so that deleting it resets everything."""
    from pipelines.platform import Locations

    return Locations.under(str(settings.home))


def remote_locations(settings: Settings) -> Locations:
    """Everything that runs on a cluster share lies under `remote_home`.

    Raises:
        ConfigError: the settings name none.
    """
    from pipelines.platform import Locations
    from slipway.errors import ConfigError

    home = settings.remote_home
    if not home.startswith("gs://"):
        raise ConfigError(
            f"remote_home = {home!r}: a run on a cluster needs a bucket; set remote_home: gs://BUCKET/slipway in "
            "settings/<environment>.yaml"
        )
    return Locations.under(home)


def module_folder(settings: Settings, name: str) -> Path:
    """The folder of a module.

    Raises:
        ConfigError: there is none of that name.
    """
    from slipway.errors import ConfigError

    folder = settings.modules / name
    if not (folder / "module.yaml").is_file():
        known = sorted(path.parent.name for path in settings.modules.glob("*/module.yaml"))
        raise ConfigError(
            f"there is no module {name!r}: {folder}/module.yaml is missing. Modules: {', '.join(known) or 'none'}. "
            f"`slipway module new {name} --data FILE` makes one"
        )
    return folder


def sample_file(folder: Path, home: Path) -> Path:
    """The module's synthetic data, made once for each version of sample.py."""
    import hashlib
    import tempfile

    from slipway.module_kit.loader import load_function
    from slipway.stores.module_store import publish_module

    digest = hashlib.sha256((folder / "sample.py").read_bytes()).hexdigest()
    path = home / "samples" / digest[:12] / f"{folder.name}.csv"
    if not path.is_file():
        path.parent.parent.mkdir(parents=True, exist_ok=True)
        # What a module prints must not end up in a command's own output, which may be JSON.
        with tempfile.TemporaryDirectory(dir=path.parent.parent) as unfinished, redirect_stdout(sys.stderr):
            uri = publish_module(folder, str(home / "modules")).uri
            load_function(uri, "sample", "write_sample")(Path(unfinished) / path.name)
            path.parent.mkdir(exist_ok=True)
            (Path(unfinished) / path.name).rename(path)
    return path
