"""Transform where all artifacts and the module are objects: the road of Dataflow and Flink."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from kfp import dsl

from components.transform_features.component import transform_features
from slipway.stores import storage
from slipway.stores.module_store import publish_module
from tests.each_store import ON_EACH_STORE
from tests.fakes.google_https import google_https
from tests.fakes.s3_server import S3Server
from tests.fakes.storage_server import StorageServer
from tests.job_service import job_service
from tests.shapes import MODULE, Artifacts, make_transformed

VOCABULARY = "vocab_compute_and_apply_vocabulary_vocabulary"  # TensorFlow Transform's name for the one of words


@contextmanager
def plain_uris(server: StorageServer | S3Server, folder: Path) -> Iterator[list[str]]:
    """What the environment of steps and workers says of a bucket; answers the names that TensorFlow uploads."""
    if isinstance(server, StorageServer):
        with google_https(server, folder) as uploads:
            yield uploads
    else:
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.port}")
            yield []


class Mount:
    """What Kubeflow's launcher does for a step: inputs are copied to paths, and outputs from them."""

    def __init__(self, root: str, folder: Path) -> None:
        self._root, self._folder = root, folder

    def input(self, kind: type[dsl.Artifact], name: str) -> Any:
        artifact = self.output(kind, name)
        storage.copy_folder(artifact.uri, artifact.path)
        return artifact

    def output(self, kind: type[dsl.Artifact], name: str) -> Any:
        artifact = kind(name=name, uri=f"{self._root}/{name}")
        artifact.custom_path = str(self._folder / name)
        return artifact


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    return make_transformed(tmp_path_factory)


@pytest.mark.slow
@pytest.mark.timeout(600)
@ON_EACH_STORE
def test_transform_of_objects_by_workers_in_other_processes_writes_the_same(
    artifacts: Artifacts, storage_server: StorageServer | S3Server, tmp_path: Path
) -> None:
    """TensorFlow Transform's own files are on gs://, too; TensorFlow writes no s3://: there they are on a disk."""
    root = f"{storage_server.scheme}://bucket/run"
    with plain_uris(storage_server, tmp_path) as uploads:
        for name in ("examples", "schema"):
            storage.copy_folder(str(artifacts.folder / name), f"{root}/{name}")
        uri = publish_module(MODULE, f"{root}/modules").preprocessing_uri
        temp = f"{root}/temp" if storage_server.scheme == "gs" else ""
        mount = Mount(root, tmp_path / "mounted")
        graph, transformed = mount.output(dsl.Artifact, "graph"), mount.output(dsl.Dataset, "transformed")
        with job_service(tmp_path, temp_location=temp) as beam:
            transform_features.python_func(
                mount.input(dsl.Dataset, "examples"), mount.input(dsl.Artifact, "schema"),
                uri, {"column": "shape"}, "", beam, graph, transformed,
            )  # fmt: skip
        # On S3 a probe of ours, too, which readers leave out.
        written = [file.name for file in storage.list_files(transformed.uri) if file.name.endswith(".parquet")]
        assert written == [f"split={split}/part-{n}.parquet" for split, n in (("eval", 0), ("train", 0), ("train", 1))]
        for name in written:
            with storage.open_read(f"{transformed.uri}/{name}") as stream:
                assert pq.read_table(stream).equals(pq.read_table(f"{artifacts.transformed}/{name}"))
        vocabulary = f"transform_fn/assets/{VOCABULARY}"
        assert Path(graph.path, vocabulary).read_bytes() == Path(artifacts.graph, vocabulary).read_bytes()
        if temp:
            for name in (f"/graph/transform_tmp/[^/]+/assets/{VOCABULARY}", "/tftransform_tmp/[^/]+/saved_model.pb"):
                assert any(re.search(name, upload) for upload in uploads), f"TensorFlow wrote {name} in the bucket"
        assert storage.list_names(temp or str(tmp_path / "temp")) == [], "the temporary folder is removed"
        assert {path.name for path in Path(transformed.path).iterdir()} == {"_SUCCESS"}, "the launcher copies this one"
