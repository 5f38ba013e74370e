"""Pointers of DVC, `trips.csv.dvc` or `trips.csv.dvc@REVISION`: which bytes they mean, read without DVC.

A pointer is YAML. Its bytes lie in the cache or the remote under their MD5, `files/md5/<2>/<30>`; those of DVC 2, whose
pointers have no `hash: md5`, in `<2>/<30>`, where the MD5 of a text is that with LF for CRLF. The MD5 of a folder ends
in `.dir`, and its object lists the MD5 of each file. See dvc/config_schema.py and dvc_data/hashfile/ (3.67).
"""

from __future__ import annotations

import configparser
import hashlib
import json
import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlencode, urlsplit

import yaml

from slipway.errors import DataError, StoreError
from slipway.remote.objects import check_inside
from slipway.stores import storage

_URI = re.compile(r"(?P<path>.+\.dvc)(@(?P<revision>[^-].*))?")
_MD5 = re.compile(r"[0-9a-f]{32}(\.dir)?")
_REMOTE = re.compile(r"""['"]?remote "(?P<name>.+)"['"]?""")
_BLOCK, _TEXT_BLOCK = 1 << 20, 512  # DVC 2 decides by the start of each block whether it is text
_DIR = ".dir"
_PULL = "`dvc pull` there, and give the file itself"


@dataclass(frozen=True)
class Pointer:
    """What a pointer says; `revision` is the commit that it was read at, empty for the file of the working tree."""

    uri: str
    file: Path
    revision: str
    path: str
    md5: str
    is_legacy: bool
    remote: str

    @property
    def exact_uri(self) -> str:
        """The URI with the commit in place of a name that may move."""
        return f"{self.file}@{self.revision}" if self.revision else str(self.file)

    @property
    def snapshot(self) -> str:
        """The name of the snapshot of its bytes."""
        name = re.sub(r"[^A-Za-z0-9._-]", "-", PurePosixPath(self.path).name).lstrip("._-")[:150]
        return f"{name or 'data'}-{self.md5.removesuffix(_DIR)}"


def is_pointer(uri: str) -> bool:
    """Whether a data URI is a pointer of DVC."""
    return "://" not in uri and _URI.fullmatch(uri) is not None


def read_pointer(uri: str) -> Pointer:
    """The pointer behind a URI.

    Raises:
        DataError: it is not there, not at this revision, or of a kind that only DVC can read.
    """
    match = _URI.fullmatch(uri)
    assert match
    file, revision = Path(match["path"]).expanduser().absolute(), match["revision"] or ""
    commit = _git(uri, file.parent, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}") if revision else ""
    text = _read_at(uri, file, commit.strip())
    if text is None:
        raise DataError(f"{uri}: there is no such pointer{f' at {revision}' if revision else ''}; correct --data")
    try:
        content = yaml.safe_load(text)
        [out] = content["outs"]
        path, md5 = str(out["path"]), str(out.get("md5", ""))
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{uri}: not a pointer of DVC with one output: {error}; `dvc add` writes one") from error
    if any("repo" in one for one in content.get("deps") or ()):
        raise DataError(f"{uri}: `dvc import` took it from another repository, which alone has the bytes: {_PULL}")
    if out.get("files") or (out.get("cloud") and not md5):
        raise DataError(f"{uri}: its remote keeps versions by the cloud's own (version_aware): {_PULL}")
    if not _MD5.fullmatch(md5):
        known = ", ".join(sorted(map(str, out)))
        raise DataError(f"{uri}: it has no MD5, but {known}: {_PULL}, or `dvc add` it again")
    return Pointer(uri, file, commit.strip(), path, md5, out.get("hash") != "md5", str(out.get("remote", "")))


def fetch(pointer: Pointer, folder: Path) -> Path:
    """Copies what a pointer means into a folder, each file with its MD5 checked; answers the file or the folder.

    Raises:
        DataError: bytes are missing, or damaged, or lie in a remote of a kind that only DVC can read.
    """
    places = list(_places(pointer))
    target = folder / PurePosixPath(pointer.path).name
    _copy(pointer, pointer.md5, target, places)
    if not pointer.md5.endswith(_DIR):
        return target
    listed = json.loads(target.read_bytes())
    target.unlink()
    with ThreadPoolExecutor(8) as threads:
        copies = [
            threads.submit(_copy, pointer, one["md5"], target / check_inside(one["relpath"], pointer.uri), places)
            for one in listed
        ]
        for copy in copies:
            copy.result()
    return target


def _copy(pointer: Pointer, md5: str, target: Path, places: list[str]) -> None:
    tried = []
    for place in places:
        found = storage.join(place, *_object(pointer, md5))
        try:
            storage.copy(found, str(target))
        except StoreError as error:
            tried.append(str(error))
            continue
        sums = _sums(target)
        if md5.removesuffix(_DIR) in (sums if pointer.is_legacy else sums[:1]):
            return
        tried.append(f"{found} is damaged: its MD5 is {sums[0]}")
    raise DataError(
        f"{pointer.uri}: the bytes with MD5 {md5} cannot be read:\n- "
        + "\n- ".join(tried)
        + "\n`dvc push` them where they are, or `dvc fetch` them here"
    )


def _object(pointer: Pointer, md5: str) -> list[str]:
    """The folders and the name of the bytes with an MD5, below a cache or a remote."""
    return [*([] if pointer.is_legacy else ["files", "md5"]), md5[:2], md5[2:]]


def _sums(path: Path) -> tuple[str, str]:
    """MD5 of a file, and that of DVC 2, of a text without carriage returns."""
    whole, unix = (hashlib.md5(usedforsecurity=False) for _ in range(2))
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            whole.update(block)
            unix.update(block if b"\0" in block[:_TEXT_BLOCK] else block.replace(b"\r\n", b"\n"))
    return whole.hexdigest(), unix.hexdigest()


def _places(pointer: Pointer) -> Iterator[str]:
    """Where the bytes may lie: the cache of the checkout, then the remote that the revision names, and today's.

    Raises:
        DataError: no remote is of a kind that can be read here.
    """
    home = next((one / ".dvc" for one in pointer.file.parents if (one / ".dvc").is_dir()), None)
    if home is None:
        raise DataError(f"{pointer.uri}: no folder above it has a .dvc; give a pointer in a repository of DVC")
    local = _parsed(pointer.uri, _text(home / "config.local"))
    configs = [_merged(_parsed(pointer.uri, _text(home / "config")), local)]
    if pointer.revision and (then := _read_at(pointer.uri, home / "config", pointer.revision)) is not None:
        configs.insert(0, _merged(_parsed(pointer.uri, then), local))
    cache = configs[-1].get("cache", {}).get("dir", "cache")
    places, refused = [str(home / cache)], []
    for config in configs:
        name = pointer.remote or config.get("core", {}).get("remote", "")
        remote = config.get(f"remote:{name}", {}) if name else {}
        if name and not remote.get("url"):
            refused.append(f"{pointer.uri}: .dvc/config has no remote {name!r} with a url")
        elif name and (why := _unreadable(name, remote)):
            refused.append(f"{pointer.uri}: {why}: {_PULL}")
        elif name:
            url = _located(remote)
            places.append(url if storage.is_remote(url) else str(home / Path(url).expanduser()))
    if refused and len(places) == 1 and not _is_cached(pointer, places[0]):
        raise DataError(refused[0])
    yield from dict.fromkeys(places)


def _unreadable(name: str, remote: dict[str, str]) -> str:
    """Why a remote can be read by DVC alone; empty if it can be read here."""
    scheme, separator, _ = remote["url"].partition("://")
    if separator and scheme not in ("gs", "s3"):
        return f"the remote {name!r} is on {scheme}://, and only local ones, gs:// and s3:// are read here"
    aware = next((key for key in ("version_aware", "worktree") if remote.get(key, "").lower() == "true"), "")
    return f"the remote {name!r} is {aware}, and has no files by their MD5" if aware else ""


def _located(remote: dict[str, str]) -> str:
    """The URI of a remote; an S3's with the endpoint and region that DVC was told. Its login is not read."""
    url, endpoint = remote["url"].rstrip("/"), urlsplit(remote.get("endpointurl", ""))
    told = {"scheme": endpoint.scheme, "endpoint_override": endpoint.netloc, "region": remote.get("region", "")}
    query = urlencode({key: value for key, value in told.items() if value})
    return f"{url}?{query}" if url.startswith("s3://") and query else url


def _is_cached(pointer: Pointer, cache: str) -> bool:
    return Path(cache, *_object(pointer, pointer.md5)).is_file()


Config = dict[str, dict[str, str]]


def _parsed(uri: str, text: str) -> Config:
    """Sections of a config of DVC by name; `remote "x"` as `remote:x`."""
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(text)
    except configparser.Error as error:
        raise DataError(f"{uri}: .dvc/config cannot be read: {error}; correct it") from error
    found: Config = {}
    for name in parser.sections():
        match = _REMOTE.fullmatch(name)
        found[f"remote:{match['name']}" if match else name] = {
            key: value.strip("'\"") for key, value in parser[name].items()
        }
    return found


def _merged(first: Config, second: Config) -> Config:
    return {name: first.get(name, {}) | second.get(name, {}) for name in first.keys() | second.keys()}


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _read_at(uri: str, file: Path, commit: str) -> str | None:
    """A file of the working tree, or at a commit; None if it is not there."""
    if not commit:
        return _text(file) if file.is_file() else None
    folder = next(one for one in file.parents if one.is_dir())
    shown = f"{commit}:./{file.relative_to(folder).as_posix()}"
    return _git(uri, folder, "show", shown) if _git(uri, folder, "ls-tree", commit, shown.partition(":")[2]) else None


def _git(uri: str, folder: Path, *command: str) -> str:
    folder = next(one for one in (folder, *folder.parents) if one.is_dir())
    try:
        done = subprocess.run(["git", "-C", str(folder), *command], capture_output=True, check=False)
    except FileNotFoundError as error:
        raise DataError(f"{uri}: a revision is read by git, which is not installed; give the pointer alone") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip() or "there is no such revision"
        raise DataError(f"{uri}: git {command[0]} in {folder}: {said}; correct what stands behind @")
    return done.stdout.decode()
