"""Generated protobuf modules of large packages, without importing these packages, which takes seconds."""

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


def package_folder(package: str) -> str:
    """The folder of an installed package; ImportError if it is not installed."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(f"{package} is not installed: install the versions of requirements.lock")
    return spec.submodule_search_locations[0]


@contextmanager
def stand_in_for(package: str) -> Iterator[None]:
    """Puts an empty module in the place of a package while its submodules are imported.

    All of it is removed again: a later import of the package is the real one, and makes the same messages.
    """
    if package in sys.modules:
        yield
        return
    stand_in = ModuleType(package)
    stand_in.__path__ = [package_folder(package)]
    sys.modules[package] = stand_in
    try:
        yield
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] == package]:
            del sys.modules[name]
