"""Runs with real statistics and evaluations, for the room of data."""

from __future__ import annotations

import random
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tensorflow_metadata.proto.v0 import statistics_pb2

from slipway.data.statistics.compute import compute_statistics
from slipway.data.statistics.io import write_statistics
from slipway.evaluation.results import Evaluation, write_evaluation
from slipway.evaluation.slice_details import describe_slices, write_slice_details
from slipway.evaluation.slices import Measured
from tests.example_artifacts import write_examples
from tests.recorded_runs import write_run

HOSTILE = '<script>alert("x")</script>\x00\x1b[31m\u202e../../etc/passwd\'"'


def add_run(
    home: Path,
    name: str,
    train: Mapping[str, Any] | None = None,
    evaluation: Mapping[str, Any] | None = None,
    judged: tuple[Evaluation, Measured] | None = None,
) -> Path:
    """A run that pushed a model, with the statistics of these rows, and with this evaluation."""
    run = write_run(home, name, "pushed")
    if train is not None:
        with TemporaryDirectory() as examples:
            write_examples(Path(examples), dict(train), dict(evaluation) if evaluation else None)
            write_statistics(compute_statistics(examples), str(run / "artifacts" / "statistics"))
    if judged is not None:
        write_slice_details(describe_slices(*judged), run / "artifacts" / "evaluation")
        write_evaluation(judged[0], run / "artifacts" / "evaluation")
    return run


def many_features(number: int) -> statistics_pb2.DatasetFeatureStatisticsList:
    """Statistics of so many features, three of four of them numbers, each split a little different."""
    drawn, found = random.Random(4), statistics_pb2.DatasetFeatureStatisticsList()
    for split in ("train", "eval"):
        dataset = found.datasets.add(name=split, num_examples=10_000)
        for index in range(number):
            feature = dataset.features.add(type=2 if index % 4 == 3 else 1)
            feature.path.step.append(f"feature_{index:04}")
            if feature.type == 2:
                _describe_words(feature.string_stats, drawn)
            else:
                _describe_numbers(feature.num_stats, drawn)
    return found


def _describe_common(common: statistics_pb2.CommonStatistics) -> None:
    common.num_non_missing = common.tot_num_values = 10_000
    common.min_num_values = common.max_num_values = 1


def _describe_words(stats: statistics_pb2.StringStatistics, drawn: random.Random) -> None:
    _describe_common(stats.common_stats)
    counts = sorted((drawn.randint(1, 60) for _ in range(300)), reverse=True)
    stats.unique = len(counts)
    for rank, count in enumerate(counts):
        label = f"value {rank}"
        if rank < 20:
            stats.top_values.add(value=label, frequency=count)
        stats.rank_histogram.buckets.add(low_rank=rank, high_rank=rank, label=label, sample_count=count)


def _describe_numbers(stats: statistics_pb2.NumericStatistics, drawn: random.Random) -> None:
    _describe_common(stats.common_stats)
    stats.min, stats.max, stats.mean, stats.std_dev, stats.median = 0, 10, 5, 3, 5
    for kind in (0, 1):
        histogram = stats.histograms.add(type=kind)
        edges = [0, *sorted(drawn.uniform(0, 10) for _ in range(9)), 10] if kind else list(range(11))
        for low, high in pairwise(edges):
            histogram.buckets.add(low_value=low, high_value=high, sample_count=1000)
