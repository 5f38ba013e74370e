"""The requests of a window, counted by cell, batch by batch: memory does not grow with the log.

A row belongs to the window in whose time it was asked, whenever its file was written.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from slipway.data.tensors import MISSING_INT
from slipway.monitoring.baseline import CLASS, SCORE
from slipway.monitoring.counts import Cells, Counts, Outside, add, place
from slipway.monitoring.log_reader import LogReader
from slipway.monitoring.sample import Sample
from slipway.monitoring.slices import Slice, add_rows, count_in, places_of
from slipway.monitoring.traffic import Traffic
from slipway.monitoring.window import Window

SAMPLE_ROWS = 100_000
ANSWERS = ("classes", "scores")
_COUNTED = ("instance", "version", "features", *ANSWERS, "error")


@dataclass
class Requests:
    """What was asked of one version in a window.

    Attributes:
        rows: Number of instances whose features were logged.
        traffic: Calls, and those of them that failed.
        counts: Of each column of the baseline, by its cells.
        samples: Values of each feature, `SAMPLE_ROWS` at most; also of features that the baseline does not have.
        outside: Of each feature of numbers, those outside the range of the training rows.
        slices: Those of the baseline that can be told by the logged features, with counts by its cells.
    """

    rows: int = 0
    traffic: Traffic = field(default_factory=Traffic)
    counts: dict[str, Counts] = field(default_factory=dict)
    samples: dict[str, pa.ChunkedArray] = field(default_factory=dict)
    outside: dict[str, Outside] = field(default_factory=dict)
    slices: list[Slice] = field(default_factory=list)

    def add(self, features: Mapping[str, pa.Array], rows: int, cells: Mapping[str, Cells]) -> None:
        """Counts a batch; a feature of the baseline that the batch lacks is missing in all of its rows."""
        groups = places_of(self.slices, features)
        add_rows(groups)
        for name in cells.keys() | features.keys():
            values = features[name] if name in features else pa.nulls(rows)
            if name in cells:
                its = cells[name]
                placed = place(values, its)
                count_in(groups, name, placed, its.size)
                found = Counts(cells=its, counts=np.bincount(placed, minlength=its.size).tolist())
                self.counts[name] = add(self.counts[name], found) if name in self.counts else found
                if its.lowest is not None and its.highest is not None:
                    self.outside.setdefault(name, Outside(lowest=its.lowest, highest=its.highest)).add(values)
            before = self.samples.get(name)
            if before is None or len(before) < SAMPLE_ROWS:
                self.samples[name] = _join(before, values) if before else pa.chunked_array([values])
        self.rows += rows


def count_requests(
    log: LogReader,
    window: Window,
    cells: Mapping[int, Mapping[str, Cells]],
    slices: Mapping[int, Sequence[Slice]] = MappingProxyType({}),
) -> tuple[dict[int | None, Requests], int]:
    """The requests of a window by version, and how many files of the log could not be read.

    Args:
        log: The requests of a model.
        window: Which requests.
        cells: By version, the cells of its baseline; other versions are only counted.
        slices: By version, those of its baseline.

    Raises:
        StoreError: the log cannot be listed or read.
    """
    found: dict[int | None, Requests] = {}
    damaged = 0
    for batches in log.parts(window, _COUNTED):
        try:
            for batch in batches:
                for version, part in _by_version(batch):
                    if version not in found:
                        known = slices.get(version, ()) if version is not None else ()
                        empty = [Slice(columns=one.columns, values=one.values) for one in known]
                        found[version] = Requests(slices=empty)
                    requests = found[version]
                    own = cells.get(version, {}) if version is not None else {}
                    names = own[CLASS].values if CLASS in own else ()
                    _add_calls(requests.traffic, part)
                    part = part.filter(pc.is_valid(part.column("features")))
                    if not part.num_rows:
                        continue
                    for alike in _by_kind(part) if own else [part]:
                        columns = {**columns_of(alike.column("features")), **answers_of(alike, names)}
                        requests.add(columns if own else {}, alike.num_rows, own)
        except (pa.ArrowInvalid, OSError):
            damaged += 1
    return found, damaged


def answers_of(rows: pa.RecordBatch, class_names: Sequence[str] = ()) -> dict[str, pa.Array]:
    """The answers as columns: `score`, and of several classes the largest one with its `class`.

    Of two classes the score is that of the second, whose probability a binary model predicts. `class_names` are those
    of the model's outputs, for answers that do not name them.
    """
    scores, classes = [], []
    for answer, names in zip(rows.column("scores").to_pylist(), rows.column("classes").to_pylist(), strict=True):
        several = len(answer or ()) > 2 or (bool(class_names) and answer)
        best = max(range(len(answer)), key=answer.__getitem__) if several else -1
        scores.append(answer[best] if answer else None)
        named = names or class_names
        classes.append(named[best] if several and best < len(named) else None)
    found = {SCORE: pa.array(scores, pa.float64())}
    return found | {CLASS: pa.array(classes, pa.string())} if class_names else found


def answered_rows(
    log: LogReader, window: Window, features: Collection[str], key: str = "request_id"
) -> dict[int | None, Sample]:
    """The requests of a window by version, or a sample of them by their key, if there are very many.

    They have `request_id`, `instance`, some features, and the answers. A file that cannot be read is left out:
    `count_requests` counts it.
    """
    found: dict[int | None, Sample] = {}
    kept = ("request_id", "instance", *ANSWERS)
    for batches in log.parts(window, [*kept, "version", "error", *(["features"] if features else [])]):
        with suppress(pa.ArrowInvalid, OSError):
            for batch in batches:
                for version, part in _by_version(_answered(batch)):
                    columns = columns_of(part.column("features")) if features else {}
                    chosen = {name: columns[name] for name in features if name in columns}
                    own = {name: part.column(name) for name in kept}
                    found.setdefault(version, Sample(key)).add(pa.table({**chosen, **own}))
    return found


def sampled_requests(
    log: LogReader, window: Window, version: int, places: NDArray[np.int64]
) -> Iterator[dict[str, pa.Array]]:
    """Features of some requests of a version, part by part; `places` are those among all of the window, ascending."""
    seen = 0
    for batches in log.parts(window, ("version", "features", "error")):
        with suppress(pa.ArrowInvalid, OSError):
            for batch in batches:
                own = _answered(batch.filter(pc.equal(batch.column("version"), version)))
                first, last = np.searchsorted(places, [seen, seen + own.num_rows])
                if first < last:
                    yield columns_of(own.column("features").take(pa.array(places[first:last] - seen)))
                seen += own.num_rows


def predictions_of(rows: pa.Table, class_names: Sequence[str]) -> NDArray[np.float32]:
    """The answers as evaluation takes predictions, `[N]`, or `[N, K]` of several classes; NaN where there is none."""
    answers = zip(rows["scores"].to_pylist(), rows["classes"].to_pylist(), strict=True)
    if not class_names:
        return np.array([scores[-1] if scores else np.nan for scores, _ in answers], np.float32)
    none, found = [np.nan] * len(class_names), []
    for scores, names in answers:
        by_name = dict(zip(names or class_names, scores or (), strict=False))
        found.append([by_name[name] for name in class_names] if by_name.keys() == set(class_names) else none)
    return np.array(found, np.float32).reshape(-1, len(class_names))


def columns_of(features: pa.Array) -> dict[str, pa.Array]:
    """The features of rows as columns of one value a row, null where it is missing; of a list, its first value.

    Of a feature that has texts and numbers all values are texts.
    """
    rows = len(features)
    entries = features.flatten()
    parents = pc.list_parent_indices(features).to_numpy()
    names = pc.dictionary_encode(entries.field("name"))
    codes = names.indices.to_numpy()
    ints, floats, strings = (_first(entries.field(kind)) for kind in ("ints", "floats", "strings"))
    ints = pc.if_else(pc.equal(ints, MISSING_INT), None, ints)
    columns: dict[str, pa.Array] = {}
    for index, name in enumerate(names.dictionary.to_pylist()):
        places = np.flatnonzero(codes == index)
        entry_of_row = np.full(rows, -1)
        entry_of_row[parents[places][::-1]] = places[::-1]  # of a name that is there twice, the first
        chosen = pa.array(entry_of_row, mask=entry_of_row < 0)
        columns[name] = _values(*(values.take(chosen) for values in (ints, floats, strings)))
    return columns


def _values(ints: pa.Array, floats: pa.Array, strings: pa.Array) -> pa.Array:
    """The values of one feature, of the kind that it has; bytes are left out."""
    has_floats = floats.null_count < len(floats)
    numbers = pc.coalesce(floats, ints.cast(pa.float64(), safe=False)) if has_floats else ints
    return pc.coalesce(strings, numbers.cast(pa.string())) if strings.null_count < len(strings) else numbers


def _first(lists: pa.Array) -> pa.Array:
    """The first value of each list, null of an empty one."""
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy()
    starts = np.cumsum(lengths) - lengths  # in `flatten`, which leaves out what a null list may hide
    return lists.flatten().take(pa.array(starts, mask=lengths == 0))


def _answered(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The rows of calls that did not fail; older servers logged no others."""
    return batch.filter(pc.is_null(batch.column("error"))) if "error" in batch.schema.names else batch


def _add_calls(traffic: Traffic, rows: pa.RecordBatch) -> None:
    traffic.calls += int(pc.sum(pc.equal(rows.column("instance"), 0)).as_py() or 0)
    for error in rows.column("error").drop_null().to_pylist() if "error" in rows.schema.names else ():
        traffic.failed[error] = traffic.failed.get(error, 0) + 1


def _by_version(batch: pa.RecordBatch) -> Iterator[tuple[int | None, pa.RecordBatch]]:
    for version in batch.column("version").unique().to_pylist():
        own = pc.is_null(batch.column("version")) if version is None else pc.equal(batch.column("version"), version)
        yield version, batch.filter(own)


def _by_kind(rows: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """The rows in parts in which no feature has both texts and numbers: each is counted as what it is."""
    features = rows.column("features")
    entries, parents = features.flatten(), pc.list_parent_indices(features).to_numpy()
    names, is_text = entries.field("name"), pc.is_valid(_first(entries.field("strings")))
    texts = names.filter(is_text).unique()
    mixed = pc.and_(pc.is_in(names, texts), pc.invert(is_text)) if len(texts) else is_text
    for name in names.filter(mixed).unique()[:1]:
        has_text = np.zeros(len(rows), bool)
        has_text[parents[np.asarray(pc.and_(is_text, pc.equal(names, name)))]] = True
        if not has_text.all():
            for part in (has_text, ~has_text):
                yield from _by_kind(rows.filter(pa.array(part)))
            return
    yield rows


def _join(first: pa.ChunkedArray, second: pa.Array) -> pa.ChunkedArray:
    """Both; where a client sends 2 and another 2.0, floats, where one sends a text, texts."""
    if first.type == second.type:
        return pa.chunked_array([*first.chunks, second])
    kinds = {first.type, second.type} - {pa.null()}
    common = pa.string() if pa.string() in kinds else pa.float64() if len(kinds) > 1 else kinds.pop()
    return pa.chunked_array([*first.cast(common, safe=False).chunks, second.cast(common, safe=False)])
