"""The same evaluation by TensorFlow Model Analysis on Apache Beam, for data beyond one machine.

Workers read row groups of the eval split, predict with both models, and hand TFMA Arrow batches (`rows`). TFMA's
numbers are read back (`readback`) into the tables that the gate judges.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

import apache_beam as beam
import numpy as np

from slipway.data.beam import scratch_folder
from slipway.data.examples.dataset import open_split
from slipway.errors import GateError
from slipway.evaluation.metric import BASELINE, CANDIDATE
from slipway.evaluation.scoring import Models
from slipway.evaluation.tables import Measured, Predictions
from slipway.evaluation.tfma.config import eval_config
from slipway.evaluation.tfma.readback import INVALID, LABEL, RIGHT, SPREAD, WITHIN, read_tables
from slipway.evaluation.tfma.rows import KEY, SAMPLE, Score
from slipway.stores import storage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from slipway.data.beam import BeamConfig
    from slipway.evaluation.config import EvaluationConfig
    from slipway.evaluation.scoring import EvalRows, LoadPredictor

SAMPLE_ROWS = 100_000  # curves and the comparison with the constant model use no more rows than these
SAMPLE_FILE = "sample.npz"


def measure_on_beam(
    examples_path: str, rows: EvalRows, load: LoadPredictor, paths: Mapping[str, str], beam_config: BeamConfig
) -> Measured:
    """Runs TFMA; the arguments are those of `score`, and how Beam runs.

    With `--temp_location` workers write there, so that they need not share this machine's disk.

    Raises:
        DataError: the eval split has no labelled rows.
        GateError: the candidate cannot be scored, or the Beam pipeline failed.
    """
    from apache_beam.options.pipeline_options import PipelineOptions

    # One batch is predicted here, where a production model that fails can still be left out.
    models = Models(load, paths, rows)
    batch = next(rows.batches(examples_path))
    models.predict(batch)
    centre = float(rows.labels(batch).mean())
    worker_paths = {name: beam_config.worker_path(path) for name, path in models.paths.items()}
    fragments = list(open_split(examples_path, "eval").get_fragments())
    groups = [(beam_config.worker_path(one.path), index) for one in fragments for index in range(one.num_row_groups)]
    options = PipelineOptions(beam_config.flags, pipeline_type_check=False)
    with scratch_folder(options) as scratch:
        try:
            with beam.Pipeline(options=options) as pipeline:
                _build(pipeline, groups, Score(rows, load, worker_paths, centre), scratch)
        except Exception as error:
            raise GateError(f"TFMA failed on Beam: {error}") from error
        tables, invalid = read_tables(scratch, rows.config, list(worker_paths), centre)
        sample = dict(np.load(BytesIO(storage.read_bytes(storage.join(scratch, SAMPLE_FILE)))))
    examples = int(tables[0].examples[0])
    return Measured(
        tables=tables,
        predictions=Predictions(invalid[CANDIDATE], invalid.get(BASELINE, 0), models.baseline_problem),
        labels=sample.pop(LABEL),
        answers={name: sample[name] for name in worker_paths},
        unlabelled=sum(one.metadata.num_rows for one in fragments) - examples,
        sampled=examples > SAMPLE_ROWS,
    )


def _build(pipeline: beam.Pipeline, groups: list[tuple[str, int]], score: Score, scratch: str) -> None:
    import tensorflow_model_analysis as tfma
    from tensorflow_model_analysis.constants import MATERIALIZED_PREDICTION

    models = [
        tfma.types.EvalSharedModel(
            model_name=name, model_path=path, model_type=MATERIALIZED_PREDICTION, is_baseline=name == BASELINE
        )
        for name, path in score.models.items()
    ]
    scored = (
        pipeline
        | "RowGroups" >> beam.Create(groups, reshuffle=True)
        | "Score" >> beam.ParDo(score).with_outputs(SAMPLE, main="batches")
    )
    config = _with_means(score.rows.config, list(score.models))
    _ = scored.batches | "TFMA" >> tfma.ExtractEvaluateAndWriteResults(
        eval_shared_model=models, eval_config=config, output_path=scratch
    )
    _ = (
        scored[SAMPLE]
        | "OneSample" >> beam.CombineGlobally(_sample)
        | "WriteSample" >> beam.Map(_save_sample, storage.join(scratch, SAMPLE_FILE))
    )


def _with_means(config: EvaluationConfig, models: list[str]) -> Any:
    """`eval_config`, and the means from which `readback` derives what TFMA has no metric for."""
    result = eval_config(config, BASELINE in models)
    spec = result.metrics_specs.add()
    means = [(f"{INVALID}{model}", "") for model in models]
    if config.task == "regression":
        means.append((SPREAD, ""))
    if config.task == "multiclass":
        classes = range(len(config.class_names))
        means += [(f"{RIGHT}{model}", f"{WITHIN}{index}") for model in models for index in classes]
        by_class = result.metrics_specs.add(model_names=models if len(models) > 1 else [])
        by_class.binarize.class_ids.values.extend(classes)
        by_class.metrics.add(class_name="AUC", config='{"name": "auc"}')
    for column, weight in means:
        path = f'"feature_key_path": ["features", "{column}"]'
        weighted = f', "example_weights_key_path": ["features", "{weight}"]' if weight else ""
        spec.metrics.add(class_name="Mean", config=f'{{"name": "{column}{weight}", {path}{weighted}}}')
    return result


def _sample(samples: Any) -> dict[str, NDArray[Any]]:
    """The rows with the smallest random keys, so that each row is equally likely to be kept."""
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
