"""Modules: read, checked, published by content and loaded by digest.

`<root>/<module>/<sha256>/` holds a module's files, or the part of them that one step depends on, under the
digest of exactly these bytes. A run names such folders only, so an edited module never changes what a run, or
a cache, means.
"""

from slipway.module_store.check import check_module
from slipway.module_store.config import read_config
from slipway.module_store.content import digest_module
from slipway.module_store.loader import load_function
from slipway.module_store.publish import PublishedModule, is_published, locate_module, publish_module

__all__ = [
    "PublishedModule",
    "check_module",
    "digest_module",
    "is_published",
    "load_function",
    "locate_module",
    "publish_module",
    "read_config",
]
