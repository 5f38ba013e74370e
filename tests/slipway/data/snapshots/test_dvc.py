"""Pointers of DVC: written by hand as DVC 3 and 2 write them, and by DVC itself where `SLIPWAY_DVC` names it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from slipway.data.snapshots.dvc import is_pointer, read_pointer
from slipway.data.snapshots.resolve import resolve
from slipway.data.snapshots.store import load_snapshot
from slipway.data.snapshots.take import keep_pointer, take_snapshot
from slipway.errors import DataError
from slipway.stores import storage
from tests.fakes.fault_proxy import FaultProxy
from tests.fakes.s3_server import S3Server

TRIPS = b"fare\n1\n"


def git(folder: Path, *command: str) -> str:
    who = ("-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main")
    done = subprocess.run(["git", *who, *command], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


class Project:
    """A repository of DVC with a remote, made without DVC."""

    def __init__(self, folder: Path, remote: str = "", *, version: int = 3, scm: bool = True, below: str = "") -> None:
        self.remote = remote or str(folder.parent / "remote")
        self.version = version
        folder.mkdir(parents=True)
        if scm:
            git(folder, "init", "-q")
        self.folder = folder / below
        (self.folder / ".dvc").mkdir(parents=True)
        self.configure(url=self.remote)

    def configure(self, file: str = "config", **remote: str) -> None:
        keys = [f"    {key} = {value}" for key, value in remote.items()]
        lines = ["[core]", "    remote = storage", "['remote \"storage\"']", *keys]
        (self.folder / ".dvc" / file).write_text("\n".join(lines) + "\n")

    def store(self, content: bytes, digest: str = "") -> str:
        digest = digest or md5(content)
        place = ["files", "md5"] if self.version == 3 else []
        storage.write_bytes(storage.join(self.remote, *place, digest[:2], digest[2:]), content)
        return digest

    def add(self, path: str, content: bytes | Mapping[str, bytes], digest: str = "", **more: object) -> str:
        """The pointer of a file, or of a folder of files."""
        if isinstance(content, bytes):
            out = {"md5": self.store(content, digest), "size": len(content)}
        else:
            listed = [{"md5": self.store(one), "relpath": name} for name, one in content.items()]
            text = json.dumps(listed).encode()
            out = {"md5": self.store(text, f"{md5(text)}.dir"), "nfiles": len(listed)}
        if self.version == 3:
            out["hash"] = "md5"
        pointer = self.folder / f"{path}.dvc"
        pointer.parent.mkdir(parents=True, exist_ok=True)
        pointer.write_text(yaml.safe_dump({"outs": [out | {"path": Path(path).name} | more]}))
        return str(pointer)

    def commit(self, tag: str) -> str:
        git(self.folder, "add", "-A")
        git(self.folder, "commit", "-qm", tag)
        git(self.folder, "tag", tag)
        return git(self.folder, "rev-parse", "HEAD")


@pytest.fixture
def root(tmp_path: Path) -> str:
    return str(tmp_path / "home" / "data")


def contents(uri: str, root: str) -> dict[str, bytes]:
    return {str(file.name): storage.read_bytes(file.uri) for file in resolve(uri, 1, root).files}


@pytest.mark.parametrize("version", [2, 3])
def test_pointer_is_read_from_a_remote_in_a_bucket(
    version: int, tmp_path: Path, root: str, fault_proxy: FaultProxy
) -> None:
    project = Project(tmp_path / "project", fault_proxy.uri("dvc"), version=version)
    kept = keep_pointer(project.add("data/trips.csv", TRIPS), root)
    assert kept == f"snapshot:trips.csv-{md5(TRIPS)}"
    assert contents(kept, root) == {"trips.csv": TRIPS}


@pytest.mark.parametrize("version", [2, 3])
def test_pointer_of_a_folder_has_all_its_files(version: int, tmp_path: Path, root: str) -> None:
    files = {"day=1/a.csv": TRIPS, "day=2/b.csv": b"fare\n2\n", "day=2/same.csv": TRIPS}
    kept = keep_pointer(Project(tmp_path / "project", version=version).add("trips", files), root)
    assert contents(kept, root) == files


def test_pointer_is_read_at_any_revision(tmp_path: Path, root: str) -> None:
    project = Project(tmp_path / "project")
    pointer = project.add("data/trips.csv", TRIPS)
    first = project.commit("v1")
    project.add("data/trips.csv", b"fare\n2\n")
    project.commit("v2")
    project.add("data/trips.csv", b"fare\n3\n")
    read = {
        revision: contents(keep_pointer(f"{pointer}{revision}", root), root)["trips.csv"]
        for revision in ("@v1", f"@{first[:8]}", "@HEAD~1", "@v2", "@main", "")
    }
    assert read == {"@v1": TRIPS, f"@{first[:8]}": TRIPS, "@HEAD~1": TRIPS, "@v2": b"fare\n2\n",
                    "@main": b"fare\n2\n", "": b"fare\n3\n"}  # fmt: skip
    assert load_snapshot(root, read_pointer(f"{pointer}@v1").snapshot).uri == f"{pointer}@{first}"


def test_pointer_that_is_gone_since_is_read_at_its_revision(tmp_path: Path, root: str) -> None:
    project = Project(tmp_path / "project")
    pointer = Path(project.add("data/trips.csv", TRIPS))
    project.commit("v1")
    pointer.unlink()
    pointer.parent.rmdir()
    assert contents(keep_pointer(f"{pointer}@v1", root), root) == {"trips.csv": TRIPS}


def test_revision_is_read_from_the_remote_that_it_names_or_from_todays(tmp_path: Path, root: str) -> None:
    project = Project(tmp_path / "project")
    pointer = project.add("trips.csv", TRIPS)
    project.commit("v1")
    project.configure(url="../elsewhere")
    assert contents(keep_pointer(f"{pointer}@v1", root), root) == {"trips.csv": TRIPS}
    Path(project.remote).rename(project.folder / "elsewhere")  # a relative URL starts at .dvc
    assert contents(keep_pointer(f"{pointer}@v1", f"{root}-2"), f"{root}-2") == {"trips.csv": TRIPS}


def test_config_local_comes_first(tmp_path: Path, root: str) -> None:
    project = Project(tmp_path / "project")
    project.configure(url="azure://bucket/x")
    project.configure("config.local", url=project.remote)
    assert contents(keep_pointer(project.add("trips.csv", TRIPS), root), root) == {"trips.csv": TRIPS}


def test_bytes_in_the_cache_need_no_remote(tmp_path: Path, root: str) -> None:
    project = Project(tmp_path / "project")
    pointer = project.add("trips.csv", TRIPS)
    Path(project.remote).rename(project.folder / ".dvc" / "cache")
    project.configure(url="azure://bucket/x")
    assert contents(keep_pointer(pointer, root), root) == {"trips.csv": TRIPS}


@pytest.mark.parametrize(("scm", "below"), [(False, ""), (True, "models/trips")])
def test_repository_without_git_or_below_one_is_read(scm: bool, below: str, tmp_path: Path, root: str) -> None:
    project = Project(tmp_path / "project", scm=scm, below=below)
    pointer = project.add("data/trips.csv", TRIPS)
    if scm:
        project.commit("v1")
        pointer += "@v1"
    assert contents(keep_pointer(pointer, root), root) == {"trips.csv": TRIPS}


def test_text_of_dvc_2_has_the_md5_of_its_lines(tmp_path: Path, root: str) -> None:
    project = Project(tmp_path / "project", version=2)
    windows = b"fare\r\n1\r\n"
    assert contents(keep_pointer(project.add("trips.csv", windows, md5(TRIPS)), root), root) == {"trips.csv": windows}


def test_remote_on_s3_is_read_at_its_endpoint(s3_server: S3Server, tmp_path: Path, root: str) -> None:
    project = Project(tmp_path / "project")
    pointer = project.add("trips.csv", TRIPS)
    project.configure(url="s3://bucket/dvc/", endpointurl=f"http://127.0.0.1:{s3_server.port}", region="us-east-1")
    s3_server.put(f"dvc/files/md5/{md5(TRIPS)[:2]}/{md5(TRIPS)[2:]}", TRIPS)
    shutil.rmtree(project.remote)
    assert contents(keep_pointer(pointer, root), root) == {"trips.csv": TRIPS}


@pytest.mark.parametrize("scheme", ["gdrive", "ssh", "http", "https", "azure", "hdfs", "oss", "webdav", "remote"])
def test_other_remotes_are_refused_with_the_way_out(scheme: str, tmp_path: Path, root: str) -> None:
    project = Project(tmp_path / "project")
    pointer = project.add("trips.csv", TRIPS)
    project.configure(url=f"{scheme}://bucket/x")
    with pytest.raises(DataError, match=rf"'storage' is on {scheme}://.*`dvc pull`"):
        keep_pointer(pointer, root)


@pytest.mark.parametrize("key", ["version_aware", "worktree"])
def test_remote_that_keeps_versions_otherwise_is_refused(key: str, tmp_path: Path, root: str) -> None:
    project = Project(tmp_path / "project")
    pointer = project.add("trips.csv", TRIPS)
    project.configure(url="gs://bucket/x", **{key: "true"})
    with pytest.raises(DataError, match=rf"'storage' is {key}.*`dvc pull`"):
        keep_pointer(pointer, root)


@pytest.mark.parametrize(
    ("content", "fact"),
    [
        ("{", "not a pointer of DVC"),
        ("outs: []", "not a pointer of DVC with one output"),
        ("outs: [{path: a.csv, md5: x}]", "no MD5"),
        ("outs: [{path: a.csv, etag: x}]", "no MD5, but etag, path"),
        ("outs: [{path: a.csv, cloud: {storage: {version_id: x}}}]", "version_aware"),
        ("deps: [{path: a.csv, repo: {url: x}}]\nouts: [{path: a.csv, md5: " + "0" * 32 + "}]", "dvc import"),
    ],
)
def test_pointer_that_only_dvc_reads_is_refused(content: str, fact: str, tmp_path: Path, root: str) -> None:
    pointer = tmp_path / "a.csv.dvc"
    pointer.write_text(content)
    with pytest.raises(DataError, match=fact):
        keep_pointer(str(pointer), root)


def test_damaged_and_missing_bytes_are_named(tmp_path: Path, root: str) -> None:
    project = Project(tmp_path / "project")
    pointer = project.add("trips.csv", TRIPS)
    project.store(b"fare\n9\n", md5(TRIPS))
    with pytest.raises(DataError, match=rf"MD5 {md5(TRIPS)} cannot be read:(?s:.*) is damaged: its MD5 is "):
        keep_pointer(pointer, root)
    storage.delete_folder(project.remote)
    with pytest.raises(DataError, match=r"there is no such file(?s:.*)`dvc push`"):
        keep_pointer(pointer, root)
    assert storage.list_files(root) == []


@pytest.mark.parametrize(("revision", "fact"), [("v9", "no such revision"), ("v0", "no such pointer at v0")])
def test_wrong_revision_is_named(revision: str, fact: str, tmp_path: Path, root: str) -> None:
    project = Project(tmp_path / "project")
    project.commit("v0")
    pointer = project.add("trips.csv", TRIPS)
    with pytest.raises(DataError, match=fact):
        keep_pointer(f"{pointer}@{revision}", root)


def test_file_of_a_folder_that_leads_outside_is_refused(tmp_path: Path, root: str) -> None:
    project = Project(tmp_path / "project")
    pointer = project.add("trips", {"../../a.csv": TRIPS})
    with pytest.raises(Exception, match="leads out of this folder"):
        keep_pointer(pointer, root)


def test_pointers_are_told_by_their_names() -> None:
    assert [is_pointer(uri) for uri in ("a.csv.dvc", "a/b.dvc@feature/x", "a.csv", "gs://b/a.csv.dvc", "a.dvc@-x")] == [
        True, True, False, False, False
    ]  # fmt: skip


def test_snapshot_of_a_pointer_names_the_commit(tmp_path: Path, root: str) -> None:
    project = Project(tmp_path / "project")
    pointer = project.add("trips.csv", TRIPS)
    commit = project.commit("v1")
    assert take_snapshot(f"{pointer}@v1", "mine", root).snapshot.uri == f"{pointer}@{commit}"


@pytest.fixture
def dvc() -> str:
    if not (program := os.environ.get("SLIPWAY_DVC")):
        pytest.skip("SLIPWAY_DVC is not set: the path of the program dvc; .ci/run installs it")
    return program


@pytest.mark.parametrize("arguments", [[], ["--no-scm"], ["--subdir"]])
def test_repository_made_by_dvc_is_read(dvc: str, arguments: list[str], tmp_path: Path, root: str) -> None:
    """Files, folders and revisions; a text with CRLF, too."""
    scm, folder = "--no-scm" not in arguments, tmp_path / "project"
    project = folder / "models" if "--subdir" in arguments else folder
    project.mkdir(parents=True)

    def run(*command: str) -> None:
        environment = {**os.environ, "DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": str(tmp_path / "site")}
        subprocess.run([dvc, *command], cwd=project, check=True, capture_output=True, env=environment)

    if scm:
        git(folder, "init", "-q")
    run("init", "-q", *arguments)
    run("remote", "add", "-d", "storage", str(tmp_path / "remote"))
    (project / "days" / "day=1").mkdir(parents=True)
    (project / "days" / "day=1" / "a.csv").write_bytes(TRIPS)
    versions = {"v1": b"fare\r\n1\r\n", "v2": b"fare\n2\n"}
    for tag, content in versions.items() if scm else [("", versions["v2"])]:
        (project / "trips.csv").write_bytes(content)
        run("add", "-q", "trips.csv", "days")
        if scm:
            git(folder, "add", "-A")
            git(folder, "commit", "-qm", tag)
            git(folder, "tag", tag)
    run("push", "-q", *(["--all-tags"] if scm else []))
    storage.delete_folder(str(project / ".dvc" / "cache"))
    for name in ("trips.csv", "days/day=1/a.csv"):
        (project / name).unlink()
    assert contents(keep_pointer(str(project / "days.dvc"), root), root) == {"day=1/a.csv": TRIPS}
    assert contents(keep_pointer(str(project / "trips.csv.dvc"), root), root) == {"trips.csv": versions["v2"]}
    for tag, content in versions.items() if scm else ():
        assert contents(keep_pointer(f"{project}/trips.csv.dvc@{tag}", root), root) == {"trips.csv": content}
