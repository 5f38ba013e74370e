"""Opens remote objects, whatever store a URI names."""

from pathlib import PurePosixPath

from slipway.errors import StoreError
from slipway.remote.address import Address, parse
from slipway.remote.google import GoogleObjects
from slipway.remote.interface import ABSENT as ABSENT
from slipway.remote.interface import Objects as Objects
from slipway.remote.interface import StoredObject as StoredObject
from slipway.remote.s3 import S3Objects

_KINDS: dict[str, type[Objects]] = {"gs": GoogleObjects, "s3": S3Objects}


def open_objects(uri: str) -> Objects:
    """The objects below a remote URI; StoreError if the URI is wrong."""
    return _open(parse(uri))


def open_object(uri: str) -> tuple[Objects, str]:
    """The objects in the folder of an object, and the object's name among them; StoreError if the URI is wrong."""
    folder, name = parse(uri).split()
    return _open(folder), name


def check_inside(name: str, folder: str) -> str:
    """The relative name of an object; StoreError if a copy of it would be written outside the local folder."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise StoreError(f"{folder}: the name {name!r} leads out of this folder; remove the object")
    return name


def _open(address: Address) -> Objects:
    return _KINDS[address.scheme](address)
