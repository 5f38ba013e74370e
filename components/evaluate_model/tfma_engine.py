"""The same evaluation by TensorFlow Model Analysis on Apache Beam, for data beyond one machine.

Workers read row groups of the eval split, ask both models through `Scorer`, and hand TFMA Arrow batches of columns
that they made (`tfma_rows`). TFMA's numbers are read back (`tfma_readback`) into the tables that the gate judges.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

import apache_beam as beam
import numpy as np

from components.evaluate_model.scoring import Scorer, labelled_batches, load_baseline, naming_candidate
from components.evaluate_model.tfma_readback import INVALID, LABEL, RIGHT, SPREAD, WITHIN, read_tables
from components.evaluate_model.tfma_rows import KEY, SAMPLE, Score
from slipway.data.beam import scratch_folder
from slipway.data.labels import encode_labels
from slipway.data.schema.io import model_inputs
from slipway.data.tensors import raw_inputs
from slipway.errors import DataError, GateError
from slipway.evaluation.chance import check_beats_constant
from slipway.evaluation.curves import trace_curves
from slipway.evaluation.tables import Measured, Predictions
from slipway.evaluation.tfma.config import BASELINE, CANDIDATE, eval_config
from slipway.stores import storage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from apache_beam.options.pipeline_options import PipelineOptions
    from numpy.typing import NDArray
    from tensorflow_metadata.proto.v0 import schema_pb2

    from slipway.data.beam import BeamConfig
    from slipway.evaluation.config import EvaluationConfig

SAMPLE_ROWS = 100_000  # curves, and the comparison with the constant model, are of no more rows than these
SAMPLE_FILE = "sample.npz"


def measure_on_beam(
    examples_path: str,
    schema: schema_pb2.Schema,
    config: EvaluationConfig,
    model_path: str,
    baseline_path: str | None,
    beam_config: BeamConfig,
) -> Measured:
    """Runs TFMA; the arguments are those of `score`, and how Beam runs.

    With `--temp_location` what workers write goes there, so that they need not share this machine's disk.

    Raises:
        DataError: the eval split has no labelled rows.
        GateError: the candidate cannot be scored, or the Beam pipeline failed.
    """
    from apache_beam.options.pipeline_options import PipelineOptions

    features = model_inputs(schema)
    models, problem, centre = _probe(examples_path, config, features, model_path, baseline_path)
    models = {name: beam_config.worker_path(path) for name, path in models.items()}
    groups, rows = _row_groups(examples_path, beam_config)
    serialized = [feature.SerializeToString() for feature in features]
    score = Score(config, serialized, models, centre)
    options = PipelineOptions(beam_config.flags, pipeline_type_check=False)
    with scratch_folder(options) as scratch:
        try:
            _run(options, groups, score, scratch)
        except Exception as error:
            raise GateError(f"TFMA failed on Beam: {error}") from error
        tables, invalid = read_tables(scratch, config, list(models), centre)
        sample = np.load(BytesIO(storage.read_bytes(storage.join(scratch, SAMPLE_FILE))))
    curves = {name: trace_curves(config.task, sample[LABEL], sample[name], config.class_names) for name in models}
    overall = tables[0].row(0)
    return Measured(
        tables=tables,
        predictions=Predictions(invalid[CANDIDATE], invalid.get(BASELINE, 0), problem),
        beats_constant=check_beats_constant(config.task, sample[LABEL], sample[CANDIDATE], overall.candidate),
        unlabelled=rows - overall.examples,
        curves=curves[CANDIDATE],
        baseline_curves=curves.get(BASELINE),
        curve_examples=len(sample[LABEL]) if overall.examples > SAMPLE_ROWS else None,
    )


def _probe(
    examples_path: str,
    config: EvaluationConfig,
    features: Sequence[schema_pb2.Feature],
    model_path: str,
    baseline_path: str | None,
) -> tuple[dict[str, str], str | None, float]:
    """Asks both models for one batch here, where a baseline that fails can still be left out.

    Returns:
        Names to paths of the models that answer, what is wrong with the baseline, and the batch's mean label.
    """
    with naming_candidate(model_path):
        candidate = Scorer(model_path, config, features)
    baseline, problem = load_baseline(baseline_path, config, features)
    for rows in labelled_batches(examples_path, config, features):
        inputs = raw_inputs(rows, features)
        with naming_candidate(model_path):
            candidate.predict(inputs, rows.num_rows)
        try:
            if baseline:
                baseline.predict(inputs, rows.num_rows)
        except GateError as error:
            baseline, problem = None, str(error)
        models = {CANDIDATE: model_path}
        if baseline and baseline_path:
            models[BASELINE] = baseline_path
        labels = encode_labels(rows[config.label.column], config.task, config.class_names)
        return models, problem, float(labels.mean())
    raise DataError(f"{examples_path}: no row of the eval split has a label; there is nothing to evaluate on")


def _row_groups(examples_path: str, beam_config: BeamConfig) -> tuple[list[tuple[str, int]], int]:
    """Every row group of the eval split, as file and index; and how many rows they have."""
    from slipway.data.examples.dataset import open_split

    groups, rows = [], 0
    for fragment in open_split(examples_path, "eval").get_fragments():
        groups += [(beam_config.worker_path(fragment.path), index) for index in range(fragment.num_row_groups)]
        rows += fragment.metadata.num_rows
    return groups, rows


def _run(options: PipelineOptions, groups: list[tuple[str, int]], score: Score, scratch: str) -> None:
    import tensorflow_model_analysis as tfma
    from tensorflow_model_analysis.constants import MATERIALIZED_PREDICTION

    models = [
        tfma.types.EvalSharedModel(
            model_name=name, model_path=path, model_type=MATERIALIZED_PREDICTION, is_baseline=name == BASELINE
        )
        for name, path in score.models.items()
    ]
    with beam.Pipeline(options=options) as pipeline:
        scored = (
            pipeline
            | "RowGroups" >> beam.Create(groups, reshuffle=True)
            | "Score" >> beam.ParDo(score).with_outputs(SAMPLE, main="batches")
        )
        _ = scored.batches | "TFMA" >> tfma.ExtractEvaluateAndWriteResults(
            eval_shared_model=models, eval_config=_tfma_config(score.config, list(score.models)), output_path=scratch
        )
        _ = (
            scored[SAMPLE]
            | "OneSample" >> beam.CombineGlobally(_sample)
            | "WriteSample" >> beam.Map(_save_sample, storage.join(scratch, SAMPLE_FILE))
        )


def _tfma_config(config: EvaluationConfig, models: list[str]) -> Any:
    """`eval_config`, and the means of columns that TFMA has no metric for."""
    result = eval_config(config, BASELINE in models)
    spec = result.metrics_specs.add()
    means = [(f"{INVALID}{model}", "") for model in models]
    if config.task == "regression":
        means.append((SPREAD, ""))
    if config.task == "multiclass":
        classes = range(len(config.class_names))
        means += [(f"{RIGHT}{model}", f"{WITHIN}{index}") for model in models for index in classes]
    for column, weight in means:
        path = f'"feature_key_path": ["features", "{column}"]'
        weighted = f', "example_weights_key_path": ["features", "{weight}"]' if weight else ""
        spec.metrics.add(class_name="Mean", config=f'{{"name": "{column}{weight}", {path}{weighted}}}')
    if config.task == "multiclass":
        names = models if len(models) > 1 else []
        by_class = result.metrics_specs.add(model_names=names)
        by_class.binarize.class_ids.values.extend(classes)
        by_class.metrics.add(class_name="AUC", config='{"name": "auc"}')
    return result


def _sample(samples: Any) -> dict[str, NDArray[Any]]:
    """Of the rows of all samples those with the smallest random keys: each row is as likely to be kept."""
    parts = [sample for sample in samples if sample]
    if not parts:
        return {}
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    kept = whole[KEY] <= np.sort(whole[KEY])[:SAMPLE_ROWS][-1]
    return {name: values[kept] for name, values in whole.items()}


def _save_sample(sample: dict[str, NDArray[Any]], uri: str) -> None:
    buffer = BytesIO()
    np.savez(buffer, **sample)  # type: ignore[arg-type]
    storage.write_bytes(uri, buffer.getvalue())
