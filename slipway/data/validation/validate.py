"""Validates examples against their schema, split by split, and against the run before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from slipway.data.examples.dataset import SPLITS, Manifest, read_manifest
from slipway.data.schema import TRAINING
from slipway.data.statistics.describe import common_stats, feature_name
from slipway.data.statistics.io import FILE as STATISTICS
from slipway.data.statistics.io import dataset_of, read_statistics
from slipway.data.validation.comparators import compare_datasets
from slipway.data.validation.earlier import compare_columns, renamed
from slipway.data.validation.features import check_feature, is_required, type_name
from slipway.data.validation.finding import CONTROL_MISSING, Finding, find_rows
from slipway.data.validation.ingested import check_ingested
from slipway.data.validation.leaks import check_leaks
from slipway.data.validation.report import Anomaly, Comparison, Kind, Validation
from slipway.data.validation.weights import check_weights
from slipway.stores import storage

Dataset: TypeAlias = statistics_pb2.DatasetFeatureStatistics


def validate_examples(
    examples_path: str | Path,
    statistics: statistics_pb2.DatasetFeatureStatisticsList,
    schema: schema_pb2.Schema,
    previous_statistics: str = "",
    declared: Iterable[Anomaly] = (),
) -> Validation:
    """The anomalies, errors first, and the comparisons.

    Both splits are checked in the environment TRAINING. Drift compares the train splits; skew, eval with train.

    Args:
        examples_path: Output of ingest_examples, in which offending rows are counted.
        statistics: Statistics of both splits.
        schema: The schema.
        previous_statistics: URI of the statistics of the run before, for drift, or empty; deleted ones are a warning.
        declared: What is wrong with the columns and labels that module.yaml declares.
    """
    found: list[tuple[Dataset, str, Finding]] = []
    earlier: list[Anomaly] = []
    manifest = read_manifest(examples_path)
    datasets = {split: dataset_of(statistics, split) for split in SPLITS}
    for dataset in datasets.values():
        found += [(dataset, *one) for one in _check_split(schema, dataset, manifest)]
    train, kinds = datasets["train"], list[tuple[Kind, Dataset, Dataset]]()
    if train.num_examples and datasets["eval"].num_examples:
        kinds.append(("skew", datasets["eval"], train))
    if previous_statistics and not storage.exists(storage.join(previous_statistics, STATISTICS)):
        text = f"previous data is missing: there is no {previous_statistics}."
        fix = "nothing, if the run before was deleted: drift is checked from the next run on"
        found.append((train, "", Finding(CONTROL_MISSING, "previous data missing", text, fix)))
    elif previous_statistics and train.num_examples:
        before = dataset_of(read_statistics(previous_statistics), "train")
        kinds.append(("drift", train, before))
        required = {name for _, name, finding in found if finding.type == "SCHEMA_MISSING_COLUMN"}  # an error already
        earlier = [one for one in compare_columns(train, before) if one.feature not in required]
        found += [(train, "", finding) for finding in _compare_size(schema, train, before)]
    comparisons: list[Comparison] = []
    for kind, treatment, control in kinds:
        for name, comparison, finding in compare_datasets(schema, treatment, control, kind):
            comparisons += [comparison] if comparison else []
            found += [(treatment, name, finding)] if finding else []
    anomalies = [*check_ingested(examples_path, manifest), *check_weights(examples_path, manifest), *declared]
    anomalies += [*(_locate(examples_path, *one) for one in found), *earlier]
    anomalies += check_leaks(examples_path, schema, manifest)
    anomalies.sort(key=lambda anomaly: anomaly.severity != "ERROR")
    return Validation(anomalies=anomalies, comparisons=comparisons)


def _check_split(schema: schema_pb2.Schema, dataset: Dataset, manifest: Manifest) -> Iterator[tuple[str, Finding]]:
    if not dataset.num_examples:
        rows = manifest.rows
        values = ", ".join(f"{value!r} ({count:,} rows)" for value, count in manifest.split_values.items())
        yield "", Finding(
            "NO_DATA_IN_SPAN", "No data", f"The split {dataset.name} has no examples: of {rows.read:,} rows "
            f"{rows.train:,} are for training, {rows.eval:,} for evaluation, {rows.left_out:,} left out, "
            f"{rows.quarantined:,} in quarantine." + (f" The split's column has {values}." if values else ""),
            fix="bring more data, or change `split` in module.yaml so that both splits get rows", rows=0,
        )  # fmt: skip
        return
    for finding in _check_size(schema, dataset):
        yield "", finding
    described = {feature_name(stats): stats for stats in dataset.features}
    known = {feature.name: feature for feature in schema.feature}
    new = [name for name in described if name not in known]
    for name, feature in known.items():
        if name in described:
            for finding in check_feature(schema, feature, described[name], TRAINING):
                yield name, finding
        elif is_required(schema, feature, TRAINING):
            yield name, missing_column(feature, new, dataset.num_examples)
    for name in new:
        written = f'name: "{name}" type: {type_name(described[name])} value_count {{ min: 1 max: 1 }}'
        yield name, Finding(
            "SCHEMA_NEW_COLUMN", "New column", "New column (column in data but not in schema)",
            fix=f"to use it, add `feature {{ {written} }}` to schema.pbtxt; the model does not see it otherwise",
            rows=common_stats(described[name]).num_non_missing,
        )  # fmt: skip


def _check_size(schema: schema_pb2.Schema, dataset: Dataset) -> Iterator[Finding]:
    """TFDV's dataset constraints (`dataset_constraints_util.cc`)."""
    limits, rows = schema.dataset_constraints, dataset.num_examples
    ends = (("min", "Low", "<", "bring the rest of", "few"), ("max", "High", ">", "correct", "many"))
    for end, word, sign, more, amount in ends:
        key = f"{end}_examples_count"
        limit = getattr(limits, key)
        if limits.HasField(key) and (rows < limit if sign == "<" else rows > limit):
            yield Finding(
                f"DATASET_{word.upper()}_NUM_EXAMPLES", f"{word} num examples in dataset.",
                f"The dataset has {rows:,} examples, which is {sign} the limit of {limit:,}.",
                fix=f"{more} the data; or, if so {amount} rows are right, change `{key}: {limit}` in schema.pbtxt to "
                f"`{key}: {rows}`",
                bound=f"{key}: {limit} in each split", rows=rows,
            )  # fmt: skip


def _compare_size(schema: schema_pb2.Schema, now: Dataset, before: Dataset) -> Iterator[Finding]:
    """TFDV's comparison of the number of examples with that of the run before."""
    limits, rows, had = schema.dataset_constraints.num_examples_drift_comparator, now.num_examples, before.num_examples
    for end, word, sign in (("min", "Low", "<"), ("max", "High", ">")):
        key = f"{end}_fraction_threshold"
        limit, share = getattr(limits, key), rows / had if had else 1.0
        if limits.HasField(key) and (share < limit if sign == "<" else share > limit):
            yield Finding(
                f"COMPARATOR_{word.upper()}_NUM_EXAMPLES",
                f"{word} num examples in current dataset versus the previous.",
                f"There are {rows:,} examples, {had:,} in the run before; the ratio {share:.4g} is {sign} {limit:g}.",
                fix=f"correct the data; or, if the change is right, change `{key}: {limit:g}` in schema.pbtxt",
                bound=f"num_examples_drift_comparator {{ {key}: {limit:g} }}", rows=rows,
            )  # fmt: skip


def missing_column(feature: schema_pb2.Feature, new: list[str], rows: int) -> Finding:
    """A required column is not there; one of the `new` ones may be it."""
    question = f"{renamed(feature.name, new)} ".lstrip()
    return Finding(
        "SCHEMA_MISSING_COLUMN", "Column dropped", "Column is completely missing",
        fix=f"{question}Bring the column {feature.name!r} back, or in schema.pbtxt delete the "
            "feature or set its `presence { min_count: 0 }`",
        bound=f'feature {{ name: "{feature.name}" }}', rows=rows,
    )  # fmt: skip


def _locate(examples_path: str | Path, dataset: Dataset, name: str, finding: Finding) -> Anomaly:
    """The anomaly with its rows counted and an example value."""
    rows, example = finding.rows, finding.example
    if finding.condition:
        rows, found = find_rows(examples_path, dataset.name, name, finding.condition)
        example = found if example is None else example
    return Anomaly(
        feature=name, split=dataset.name, severity=finding.severity, type=finding.type, short=finding.short,
        description=finding.description, rows=rows, of_rows=dataset.num_examples, example=example, bound=finding.bound,
        fix=finding.fix,
    )  # fmt: skip
