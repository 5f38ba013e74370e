"""Evidently's drift page of a window, for those who know it, by the extra `evidently`. It decides nothing.

A sample of the window's requests beside one of the training rows. Types come from the schema: Evidently guesses them
from each side by itself, and a column that looks different to it leaves the page without a word. What its drift preset
does not see (missing values, infinities, columns that came or went) is said above it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from slipway.data.examples.dataset import open_split
from slipway.data.schema import model_inputs, read_schema
from slipway.errors import ConfigError, DataError, StoreError
from slipway.monitoring.counts import text_of
from slipway.monitoring.log_reader import LogReader
from slipway.monitoring.requests import sampled_requests
from slipway.monitoring.result import WindowResult
from slipway.monitoring.window import Window
from slipway.pages.numbers import format_share
from slipway.runs.summary import readable_folder

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from tensorflow_metadata.proto.v0 import schema_pb2

FILE = "evidently.html"
SAMPLE_ROWS, SEED = 10_000, 0
LESS_THAN = "\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}"
MISSING_CHANGE = 0.01  # of the share of missing values, above which it is said
INSTALL = "pip install --editable '.[evidently]'"

Kind = Literal["number", "category"]


def evidently_page(result: WindowResult, log_uri: str, artifacts: Mapping[str, str]) -> tuple[str, list[str]]:
    """The page of a window, and what it cannot show.

    Args:
        result: What the monitor found in the window.
        log_uri: The log of requests.
        artifacts: Of the run that trained the version.

    Raises:
        ConfigError: Evidently is not installed.
        DataError: the window has too few requests, or no column that could be compared.
        StoreError: the requests or the training rows are gone.
    """
    if not result.enough:
        raise DataError(
            f"window {result.start} has {result.requests:,} requests, fewer than monitoring.min_rows: Evidently would "
            "call most columns drifted. Choose another window, or lower min_rows and run the monitor on it again"
        )
    kinds, trained = _training(result, artifacts)
    window = Window(datetime.fromisoformat(result.start), datetime.fromisoformat(result.end))
    places = _places(result.requests)
    now = _joined(sampled_requests(LogReader(log_uri, result.model), window, result.version, places), kinds)
    if not now:
        raise StoreError(
            f"{log_uri or 'request_log of the settings, which is empty,'} has no requests of version {result.version} "
            f"of {result.model} from {result.start} on: name the log by --log, unless its retention deleted them"
        )
    names = [name for name in kinds if _has_values(now[name]) and _has_values(trained.get(name))]
    if not names:
        raise DataError(f"window {result.start}: no feature has values both in the requests and in the training rows")
    spots = [*_gone(kinds, now, trained), *_told(result), *_infinite(now, trained)]
    items = "".join(f"<li>{escape(one)}</li>" for one in spots or ["nothing that we know of"])
    note = (
        "<body><aside style='font: 14px/1.5 sans-serif; margin: 16px; padding: 8px 16px; border: 1px solid #999'><p>"
        f"{len(places):,} of {result.requests:,} requests of version {result.version} of {escape(result.model)} from "
        f"{result.start}, beside training rows. What this page cannot show of the window:</p><ul>{items}</ul></aside>"
    )
    page = drift_report(names, kinds, now, trained).get_html_str(as_iframe=False)
    before, _, after = page.partition("<body>")
    return f"{before}{note}{after}", spots


def drift_report(
    names: Sequence[str], kinds: Mapping[str, Kind], now: Mapping[str, pa.Array], trained: Mapping[str, pa.Array]
) -> Any:
    """Evidently's `Snapshot` of these columns by its drift preset.

    Raises:
        ConfigError: Evidently is not installed.
    """
    import pandas as pd

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that NumPy gave up, and of quotients by empty bins
        try:
            from evidently import DataDefinition, Dataset, Report
            from evidently.presets import DataDriftPreset
        except ImportError as error:
            raise ConfigError(f"Evidently cannot be imported ({error}); it is an extra: {INSTALL}") from error
        given = DataDefinition(
            numerical_columns=[_plain(name) for name in names if kinds[name] == "number"],
            categorical_columns=[_plain(name) for name in names if kinds[name] == "category"],
        )
        current, reference = (
            Dataset.from_pandas(
                pd.DataFrame({_plain(name): _shown(side[name], kinds[name]).to_pandas() for name in names}),
                data_definition=given,
            )
            for side in (now, trained)
        )
        return Report([DataDriftPreset()]).run(current, reference)


def _training(result: WindowResult, artifacts: Mapping[str, str]) -> tuple[dict[str, Kind], dict[str, pa.Array]]:
    """How the schema has each feature, images and lists left out, and a sample of the training rows by column."""
    try:
        schema = read_schema(readable_folder(artifacts["schema"]))
        train = open_split(readable_folder(artifacts["examples"]), "train")
    except (KeyError, StoreError, OSError) as error:
        raise StoreError(
            f"the training rows of version {result.version} of {result.model} are gone ({error}), which Evidently "
            "needs. Our own report needs counts only, and lies beside the window"
        ) from error
    kinds = {
        one.name: kind_of(one)
        for one in model_inputs(schema)
        if not one.HasField("shape") and not _is_list(train.schema, one.name)
    }
    there = [name for name in kinds if name in train.schema.names]
    rows = train.take(pa.array(_places(train.count_rows())), columns=there)
    return kinds, {name: _typed(rows[name].combine_chunks(), kinds[name]) for name in there}


def kind_of(feature: schema_pb2.Feature) -> Kind:
    """How the schema has a feature."""
    return "number" if feature.type in (2, 3) and not feature.int_domain.is_categorical else "category"


def _is_list(schema: pa.Schema, name: str) -> bool:
    return name in schema.names and pa.types.is_nested(schema.field(name).type)


def _places(rows: int) -> NDArray[np.int64]:
    """Of the sampled rows, ascending; the same each time."""
    return np.sort(np.random.default_rng(SEED).permutation(rows)[:SAMPLE_ROWS])


def _joined(parts: Iterable[Mapping[str, pa.Array]], kinds: Mapping[str, Kind]) -> dict[str, pa.Array]:
    """The columns of all parts, of which each may have others, and other types; nothing without a part."""
    found: dict[str, list[pa.Array]] = {name: [] for name in kinds}
    for part in parts:
        rows = len(next(iter(part.values()), ()))
        for name, kind in kinds.items():
            found[name].append(_typed(part.get(name, pa.nulls(rows)), kind))
    return {name: pa.concat_arrays(columns) for name, columns in found.items() if columns}


def _typed(values: pa.Array, kind: Kind) -> pa.Array:
    """Values as floats or as texts; what is none is missing."""
    if kind == "category":
        return pa.array([text_of(one) for one in values.to_pylist()], pa.string())
    if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
        return pa.nulls(len(values), pa.float64())
    floats = values.cast(pa.float64(), safe=False)
    return pc.if_else(pc.is_nan(floats), None, floats)


def _shown(values: pa.Array, kind: Kind) -> pa.Array:
    """What Evidently takes: no infinities; nor `</script>`, since it writes texts into a script as they are."""
    if kind == "number":
        return pc.if_else(pc.is_finite(values), values, None)
    return pc.replace_substring(values, "<", LESS_THAN)


def _plain(name: str) -> str:
    return name.replace("<", LESS_THAN)


def _has_values(values: pa.Array | None) -> bool:
    return values is not None and values.null_count < len(values)


def _gone(kinds: Mapping[str, Kind], now: Mapping[str, pa.Array], trained: Mapping[str, pa.Array]) -> Iterator[str]:
    for name in kinds:
        if not _has_values(trained.get(name)):
            yield f"{name} has no values in the training rows: it is left out"
        elif not _has_values(now[name]):
            yield f"{name} has no {kinds[name]} in any sampled request: it is left out"


def _told(result: WindowResult) -> Iterator[str]:
    """What the monitor found in all requests of the window."""
    for name in result.new_features:
        yield f"{name} is in requests and not in the training rows: it is left out"
    for one in result.columns:
        now, before = one.missing
        if one.role == "input" and abs(now - before) > MISSING_CHANGE:
            yield f"{one.name} is missing in {format_share(now)} of the requests, in training in {format_share(before)}"
        if one.counts.cells.kind == "number" and (many := one.counts.counts[-2]):
            yield f"{one.name} is no number in {many:,} requests: these values are left out"


def _infinite(now: Mapping[str, pa.Array], trained: Mapping[str, pa.Array]) -> Iterator[str]:
    for where, side in (("requests", now), ("training rows", trained)):
        for name, values in side.items():
            if pa.types.is_floating(values.type) and (many := pc.sum(pc.is_inf(values)).as_py()):
                yield f"{name} is infinite in {many:,} of the sampled {where}: these values are left out"
