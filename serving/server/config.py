"""Configuration of a server: its ports and times, and TensorFlow Serving's `ModelServerConfig`.

Checks and texts are those of `model_servers/server_core.cc`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from serving.protocol.errors import ServingError, invalid_argument
from serving.protocol.protos import model_server_config_pb2
from slipway.errors import ConfigError


@dataclass(frozen=True)
class ServerConfig:
    """Options of one server process; `serving/protocol/limits.py` has the limits of requests.

    Attributes:
        host: Address to listen on. There is no authentication, so the default is the loopback interface.
        grpc_port: 0 takes a free one.
        rest_port: 0 takes a free one, None serves no REST.
        poll_seconds: Interval between polls of the models; 0 polls once.
        max_load_retries: How often a version that cannot be loaded is tried again.
        retry_seconds: Interval between tries.
        allow_unavailable_labels: Whether an unused label may be given to a version that is not loaded.
        grace_seconds: How long requests in flight may take once the server is told to stop.
        threads: Number of threads that answer gRPC requests.
    """

    host: str = "127.0.0.1"
    grpc_port: int = 8500
    rest_port: int | None = 8501
    poll_seconds: float = 1.0
    max_load_retries: int = 5
    retry_seconds: float = 60.0
    allow_unavailable_labels: bool = False
    grace_seconds: float = 20.0
    threads: int = 8


def read_config_file(path: Path) -> Any:
    """Reads a `ModelServerConfig` in text form.

    Raises:
        ConfigError: it cannot be read, or configures no models.
    """
    try:
        config = text_format.Parse(path.read_text(), model_server_config_pb2.ModelServerConfig())
        if config.WhichOneof("config") is None:
            raise ConfigError(f"{path} names no model: write `model_config_list {{ config {{ … }} }}`")
        check_config(config)
    except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
        raise ConfigError(f"{path} is no ModelServerConfig in text form: {error}") from error
    except ServingError as error:
        raise ConfigError(f"{path}: {error.message}") from error
    return config


def check_config(config: Any) -> None:
    """Checks a `ModelServerConfig`."""
    if config.WhichOneof("config") != "model_config_list":
        raise invalid_argument(
            "ServerModelConfig type not supported by HandleReloadConfigRequest. "
            "Only ModelConfigList is currently supported"
        )
    names: set[str] = set()
    for model in config.model_config_list.config:
        if model.name in names:
            raise invalid_argument(f"Illegal to list model {model.name} multiple times in config list")
        names.add(model.name)
        if not Path(model.base_path).is_absolute():
            raise invalid_argument(
                f"Expected model {model.name} to have an absolute path or URI; got base_path()={model.base_path}"
            )
        if model.model_platform not in ("", "tensorflow") or model.HasField("logging_config"):
            what = f"logging_config of model {model.name}" if model.HasField("logging_config") else model.model_platform
            raise invalid_argument(f"{what} is not supported by this server")
