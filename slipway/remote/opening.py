"""Opens the store that a URI names: `gs://` is Google Cloud Storage."""

from __future__ import annotations

from slipway.remote.address import parse
from slipway.remote.google import GoogleObjects
from slipway.remote.objects import Objects


def open_objects(uri: str) -> Objects:
    """The objects below a remote URI.

    Raises:
        StoreError: the URI is wrong.
    """
    return GoogleObjects(parse(uri))


def open_object(uri: str) -> tuple[Objects, str]:
    """The objects in the folder of an object, and the object's name among them; raises as `open_objects` does."""
    folder, name = parse(uri).split()
    return GoogleObjects(folder), name
