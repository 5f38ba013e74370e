"""Sources of models: they say, at every poll, which versions should be served."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from google.protobuf import text_format

from serving.protocol.errors import ServingError, invalid_argument
from serving.protocol.protos import model_server_config_pb2
from slipway.errors import ConfigError, StoreError
from slipway.stores.model_store import ModelStore
from slipway.stores.model_store.numbers import version_of

LOGGER = logging.getLogger(__name__)

_NO_URIS = "a base path is a local folder here; --store gs://… or s3://… serves a model store in a bucket"


@dataclass(frozen=True)
class Wanted:
    """The versions and labels to serve of one model.

    Attributes:
        versions: SavedModel directory by version.
        labels: Version by label. A label moves once its version is loaded.
        default: Version for requests that name none; if None, the newest loaded one.
    """

    versions: Mapping[int, Path]
    labels: Mapping[str, int] = field(default_factory=dict)
    default: int | None = None


class ModelSource(Protocol):
    """Says which versions of which models should be served."""

    def poll(self) -> Mapping[str, Wanted | None]:
        """What should be served, by model; None where that is unknown for now, and nothing should change."""

    def describe(self, model: str) -> str:
        """Why there is nothing to serve of a model, and what to do about it."""


class BasePaths:
    """Directories with one folder per version, named by an integer.

    The rules are those of TensorFlow Serving's `file_system_storage_path_source.cc`: other names are ignored, an empty
    directory means that nothing should be served, a missing one changes nothing. `models_of` gives the `ModelConfig`s.
    """

    def __init__(self, models: Sequence[Any]) -> None:
        self._models = models
        self._problems: dict[str, str] = {}  # those that were logged, by model

    @classmethod
    def single(cls, name: str, base_path: Path | str) -> BasePaths:
        """One model, served with its newest version.

        Raises:
            ConfigError: the base path is a URI.
        """
        if _is_uri(str(base_path)):
            raise ConfigError(f"--model-base-path {base_path}: {_NO_URIS}")
        return cls([model_server_config_pb2.ModelConfig(name=name, base_path=str(Path(base_path).absolute()))])

    def poll(self) -> Mapping[str, Wanted | None]:
        return {model.name: self._look_at(model) for model in self._models}

    def _look_at(self, model: Any) -> Wanted | None:
        try:
            wanted = _wanted(model)
        except OSError as error:
            problem = _access_error(model, error)
            if problem != self._problems.get(model.name):
                LOGGER.warning("%s", problem)
                self._problems[model.name] = problem
            return None
        self._problems.pop(model.name, None)
        return wanted

    def describe(self, model: str) -> str:
        found = next((each for each in self._models if each.name == model), None)
        if found is None:
            return "it is not configured any more"
        base = Path(found.base_path)
        try:
            there = ", ".join(sorted(path.name for path in base.iterdir())[:5]) or "none"
        except OSError as error:
            return _access_error(found, error)
        return f"its base path {base} holds no version that its policy selects, a folder named by an integer: {there}"


class ConfigFile(BasePaths):
    """A `ModelServerConfig` file, read once, or every `seconds`.

    Raises:
        ConfigError: the file cannot be read, or has labels that are not allowed yet.
    """

    def __init__(self, path: Path, seconds: float = 0.0, *, allow_unavailable_labels: bool = False) -> None:
        super().__init__(_read_config(path))
        self._path = path
        self._seconds = seconds
        self._read_at = time.monotonic()
        labelled = [model.name for model in self._models if model.version_labels]
        if labelled and not allow_unavailable_labels:
            raise ConfigError(
                f"{path} gives labels to versions of {', '.join(labelled)}, and nothing is loaded yet: TensorFlow "
                "Serving refuses that, too. Give --allow_version_labels_for_unavailable_models"
            )

    def poll(self) -> Mapping[str, Wanted | None]:
        if self._seconds and time.monotonic() - self._read_at >= self._seconds:
            self._read_at = time.monotonic()
            try:
                self._models = _read_config(self._path)
            except ConfigError as error:
                LOGGER.warning("%s; the models stay as they are", error)
        return super().poll()


class StoreModels:
    """A model store: the version in production with the label `stable`, and a canary with the label `canary`.

    Without names all its models are served. The cache is a local folder for the versions of a remote store.
    """

    def __init__(self, store: ModelStore, names: Sequence[str], cache: Path) -> None:
        self._store = store
        self._names = names
        self._cache = cache
        self._fetched: dict[tuple[str, int], Path] = {}
        self._problems: dict[str, str] = {}

    def poll(self) -> Mapping[str, Wanted | None]:
        return {name: self._wanted(name) for name in self._names or self._store.models()}

    def describe(self, model: str) -> str:
        if problem := self._problems.get(model):
            return problem
        known = self._store.models()
        if model not in known:
            others = ", ".join(known) or "none"
            return f"the model store does not have it; its models: {others}. `slipway run` pushes one"
        stages = ", ".join(f"{number} is {stage}" for number, stage in sorted(self._store.stages(model).items()))
        return f"the model store has no version of it that may serve: {stages or 'none'}. `slipway run` pushes one"

    def _wanted(self, name: str) -> Wanted | None:
        try:
            stages = self._store.stages(name)
            stable = self._store.production(name)
            versions = {stable.number: self._fetch(name, stable.number)} if stable else {}
        except StoreError as error:
            if str(error) != self._problems.get(name):  # not at each look
                LOGGER.warning("%s stays as it is: %s", name, error)
                self._problems[name] = str(error)
            return None
        self._problems.pop(name, None)
        if stable is None:
            return Wanted({})
        labels = {"stable": stable.number}
        for number in (number for number, stage in stages.items() if stage == "canary" and number not in versions):
            try:
                versions[number] = self._fetch(name, number)
                labels["canary"] = number
            except StoreError as error:
                LOGGER.warning("the canary %d of %s cannot be fetched: %s", number, name, error)
        return Wanted(versions, labels, default=stable.number)

    def _fetch(self, name: str, number: int) -> Path:
        # Fetching verifies every file, so it is done once.
        key = (name, number)
        if key not in self._fetched:
            self._fetched[key] = self._store.fetch(self._store.version(name, number), self._cache / name)
        return self._fetched[key]


@dataclass(frozen=True)
class OneVersion:
    """A single SavedModel."""

    model: str
    path: Path
    number: int = 1

    def poll(self) -> Mapping[str, Wanted | None]:
        return {self.model: Wanted({self.number: self.path})}

    def describe(self, model: str) -> str:
        return f"{self.path} cannot be loaded as model {model}"


def models_of(config: Any) -> Sequence[Any]:
    """The `ModelConfig`s of a `ModelServerConfig` (`model_servers/server_core.cc`).

    Raises:
        ServingError: it lists no models, or one that cannot be served.
    """
    if config.WhichOneof("config") != "model_config_list":
        raise invalid_argument("the config names no model: write `model_config_list { config { … } }`")
    models = config.model_config_list.config
    names = [model.name for model in models]
    for model in models:
        if names.count(model.name) > 1:
            raise invalid_argument(f"Illegal to list model {model.name} multiple times in config list")
        if _is_uri(model.base_path):
            raise invalid_argument(f"model {model.name}: base_path {model.base_path}: {_NO_URIS}")
        if not Path(model.base_path).is_absolute():
            raise invalid_argument(
                f"Expected model {model.name} to have an absolute path or URI; got base_path()={model.base_path}"
            )
        if model.model_platform not in ("", "tensorflow"):
            raise invalid_argument(f"model {model.name}: platform {model.model_platform} is not supported")
        if model.HasField("logging_config"):
            raise invalid_argument(f"model {model.name}: logging_config is not supported; use --request-log")
    return models  # type: ignore[no-any-return]


def _read_config(path: Path) -> Sequence[Any]:
    try:
        return models_of(text_format.Parse(path.read_text(), model_server_config_pb2.ModelServerConfig()))
    except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
        raise ConfigError(f"{path} is not a ModelServerConfig in text form: {error}") from error
    except ServingError as error:
        raise ConfigError(f"{path}: {error.message}") from error


def _is_uri(base_path: str) -> bool:
    return "://" in base_path


def _access_error(model: Any, error: OSError) -> str:
    """In TensorFlow Serving's words (`file_system_storage_path_source.cc`, and TensorFlow's `posix_file_system.cc`)."""
    if isinstance(error, FileNotFoundError):
        why = f"Could not find base path {model.base_path} for servable {model.name}"
    else:
        why = f"{error.filename}; {error.strerror}"
    return f"FileSystemStoragePathSource encountered a filesystem access error: {why}"


def _wanted(model: Any) -> Wanted:
    base = Path(model.base_path)
    found = {version_of(path.name): path for path in sorted(base.iterdir())}  # of 001, 01 and 1 the last counts
    numbers = sorted(number for number in found if number is not None)
    policy = model.model_version_policy
    choice = policy.WhichOneof("policy_choice")
    if choice == "specific":
        numbers = [number for number in numbers if number in policy.specific.versions]
    elif choice != "all":
        numbers = numbers[-max(policy.latest.num_versions, 1) :]
    return Wanted({number: found[number] for number in numbers}, dict(model.version_labels))
