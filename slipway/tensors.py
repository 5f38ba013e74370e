"""The one door between Arrow columns and what a served model takes.

`raw` takes one dense tensor per feature, with a marker where the value is missing: NaN for floats, the smallest int64
for integers, the empty string for bytes. The exported model turns the markers back into missing values, so a client
may leave a feature out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from numpy.typing import NDArray
    from tensorflow_metadata.proto.v0 import schema_pb2

MISSING_INT = int(np.iinfo(np.int64).min)
MISSING_FLOAT = float("nan")
MISSING_BYTES = b""
