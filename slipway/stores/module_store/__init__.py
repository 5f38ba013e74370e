"""Modules, published under the digest of their content.

`<root>/<module>/<sha256>/` holds a module's files, or the part of them that one step depends on, under the
digest of exactly these bytes. A run names such folders only, so an edited module never changes what a run, or
a cache, means.
"""

from slipway.stores.module_store.content import digest_module
from slipway.stores.module_store.publish import PublishedModule, is_published, locate_module, publish_module

__all__ = [
    "PublishedModule",
    "digest_module",
    "is_published",
    "locate_module",
    "publish_module",
]
