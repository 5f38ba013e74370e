from collections.abc import Iterator
from pathlib import Path

import pytest

from slipway import storage
from slipway.errors import ModuleDigestError
from slipway.module_store import load_function, publish_module


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """URI of an empty bucket in an emulator."""
    from gcp_storage_emulator.server import create_server

    server = create_server("localhost", 0, in_memory=True, default_bucket="slipway")
    server.start()
    host, port = server._api._httpd.socket.getsockname()[:2]
    yield f"gs://anonymous@slipway/modules?scheme=http&endpoint_override={host}:{port}"
    server.stop()


def test_publish_to_gs_and_load_from_there(module: Path, bucket: str) -> None:
    published = publish_module(module, bucket)
    assert published == publish_module(module, bucket)
    assert published.uri.partition("?")[0].endswith(f"/modules/tiny/{published.digest}")
    assert load_function(published.preprocessing_uri, "preprocessing", "preprocessing_fn")({"x": 4}) == {"x": 8}
    assert load_function(published.model_uri, "model", "build_model")({}, {}) == 2


def test_load_from_gs_edited_object_is_refused(module: Path, bucket: str) -> None:
    (module / "constants.py").write_text("SCALE = 5\n")
    published = publish_module(module, bucket)
    storage.write_text(storage.join(published.model_uri, "constants.py"), "SCALE = 6\n")
    with pytest.raises(ModuleDigestError):
        load_function(published.model_uri, "model", "build_model")
