"""Importing a module's code from where it was published, after checking its digest."""

import ast
import atexit
import functools
import hashlib
import importlib
import importlib.util
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from typing import Any

from slipway.errors import ModuleDigestError, ModuleError, SlipwayError
from slipway.module_api import CONTRACT
from slipway.stores import storage
from slipway.stores.module_store import SCHEMA, Files, contract_of, digest_files, read_files


def load_function(uri: str, file: str, function: str) -> Callable[..., Any]:
    """A function of a published module: `load_function(published.model_uri, "model", "build_model")`.

    The module becomes a package of its own: relative imports work, and two versions live in one
    process. What the function raises when it is called also becomes a ModuleError with the user's line.

    Raises:
        ModuleDigestError: the bytes at `uri` are not those that it names.
        ModuleError: the file or the function is missing, importing it fails, or the contract is unknown here.
    """
    name, folder, files = _checked(uri)
    if (contract := contract_of(files)) != CONTRACT:
        raise ModuleError(
            f"module {name} is written for contract {contract}; this version of Slipway knows contract {CONTRACT}. "
            "Run it in an image of the revision that it was written for"
        )
    with _users_errors(folder, name):
        package = _package(name, folder)
        if not (folder / f"{file}.py").is_file():
            raise ModuleError(f"module {name} has no {file}.py; it must define {function}")
        loaded = importlib.import_module(f"{package}.{file}")
    found = getattr(loaded, function, None)
    if not callable(found):
        raise ModuleError(f"{name}/{file}.py does not define the function {function}")

    @functools.wraps(found)
    def call(*args: Any, **kwargs: Any) -> Any:
        with _users_errors(folder, name):
            return found(*args, **kwargs)

    return call


def defines(uri: str, file: str, function: str) -> bool:
    """Whether a file of a published module defines a function, without running it; raises ModuleDigestError."""
    source = _checked(uri)[2].get(f"{file}.py", b"")
    with _users_errors(_local_folder(uri), file):
        return any(isinstance(node, ast.FunctionDef) and node.name == function for node in ast.parse(source).body)


def read_schema_text(schema_uri: str) -> str:
    """The curated schema at a `PublishedModule.schema_uri`; ModuleDigestError if its bytes are not those named."""
    return _checked(schema_uri)[2][SCHEMA].decode()


def _checked(uri: str) -> tuple[str, Path, Files]:
    """Name, local folder and files of a published module, compared with the digest in its URI."""
    name, digest = uri.partition("?")[0].rstrip("/").split("/")[-2:]
    folder = _local_folder(uri)
    files = read_files(folder)
    actual = digest_files(files)
    if actual != digest:
        raise ModuleDigestError(
            f"{uri} was changed after it was published: its digest is {actual}, not {digest}. "
            "Edit the module, not the published copy; delete the copy and start a new run"
        )
    return name, folder, files


@functools.cache
def _local_folder(uri: str) -> Path:
    if not storage.is_remote(uri):
        return storage.local_path(uri).absolute()
    # Python reads the files again when an error's traceback is shown: they stay until the process ends.
    folder = tempfile.mkdtemp(prefix="slipway-module-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    storage.copy_folder(uri, folder)
    return Path(folder)


def _package(module: str, folder: Path) -> str:
    """Makes the folder importable, under a name that no other content has, and returns that name."""
    name = f"slipway_module_{module}_{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}"
    if name in sys.modules:
        return name
    init = folder / "__init__.py"
    loader = SourceFileLoader(name, str(init)) if init.is_file() else None
    spec = ModuleSpec(name, loader, origin=str(init), is_package=True)
    spec.submodule_search_locations, spec.has_location = [str(folder)], loader is not None
    package = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        if loader:
            loader.exec_module(package)
    except BaseException:
        del sys.modules[name]
        raise
    return name


@contextmanager
def _users_errors(folder: Path, name: str) -> Iterator[None]:
    """Turns an exception out of the user's code into a ModuleError that names the user's line."""
    try:
        yield
    except SlipwayError:
        raise
    except Exception as error:
        # The innermost line of the user's own code, as `taxi/preprocessing.py:12`.
        places = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
        if isinstance(error, SyntaxError) and error.filename:
            places.append((error.filename, error.lineno))
        own = [(Path(file), line) for file, line in places if Path(file).is_relative_to(folder)]
        where = f"{name}/{own[-1][0].relative_to(folder).as_posix()}:{own[-1][1]}" if own else f"module {name}"
        raise ModuleError(f"{where}: {type(error).__name__}: {error}") from error
