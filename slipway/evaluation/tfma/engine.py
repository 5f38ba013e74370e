"""The same evaluation by TensorFlow Model Analysis on Apache Beam, for data beyond one machine.

Workers read row groups of the eval split, predict with both models, and hand TFMA Arrow batches. TFMA's numbers are
read back (`readback`) into the tables that the gate judges.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.options.pipeline_options import PipelineOptions

from slipway.data.beam import scratch_folder
from slipway.data.examples.dataset import row_groups
from slipway.data.tensors import raw_inputs
from slipway.errors import GateError
from slipway.evaluation.metric import BASELINE, CANDIDATE
from slipway.evaluation.metrics import EPSILON, invalid_predictions, without_invalid
from slipway.evaluation.results import MISSING
from slipway.evaluation.scoring import Models, Scorer
from slipway.evaluation.slices import Measured, Slicing, encode_column, slice_rows
from slipway.evaluation.tfma.files import LABEL, WEIGHT, eval_config, prediction_key
from slipway.evaluation.tfma.readback import CHOSEN, HEAVY, INVALID, RIGHT, SPREAD, WITHIN, read_tables
from slipway.stores import storage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    from slipway.data.beam import BeamRun
    from slipway.evaluation.config import EvaluationConfig
    from slipway.evaluation.scoring import EvalRows, LoadPredictor
    from slipway.evaluation.slices import SliceValues

SAMPLE_ROWS = 100_000  # curves and comparisons between models use no more rows than these
SAMPLE_FILE = "sample.npz"
BATCH_ROWS = 4_096
SAMPLE, KEY, PLACE = "sample", "__key", "__place_"


@dataclass
class Score(beam.DoFn):  # type: ignore[misc]
    """From a row group to TFMA's columns, and to labels and predictions with a random key for sampling."""

    examples_uri: str
    rows: EvalRows
    load: LoadPredictor
    models: dict[str, str]  # URIs
    centre: float

    def setup(self) -> None:
        """Loads the models, once a worker."""
        self._scorers = {}
        for name, uri in self.models.items():
            with storage.as_local_folder(uri) as folder:
                self._scorers[name] = Scorer(self.load, str(folder), self.rows)

    def process(self, group: tuple[str, int]) -> Iterator[Any]:
        """Streams one row group."""
        file, index = group
        random = np.random.default_rng([index, *file.encode()])
        with storage.open_read(storage.join(self.examples_uri, file)) as stream:
            examples = pq.ParquetFile(stream)
            for batch in examples.iter_batches(BATCH_ROWS, [index], self.rows.columns(examples.schema_arrow)):
                rows = self.rows.labelled(batch)
                if rows.num_rows:
                    labels, inputs = self.rows.labels(rows), raw_inputs(rows, self.rows.features)
                    weights = self.rows.weights(rows)
                    if weights is None:
                        weights = np.ones(rows.num_rows)
                    answers = {name: one.predict(inputs, rows.num_rows) for name, one in self._scorers.items()}
                    batch = self._columns(rows, labels, weights, {name: answers[name] for name in _judged(answers)})
                    yield batch
                    keys = random.random(rows.num_rows)
                    places = {f"{PLACE}{name}": _texts(rows, name) for name in self.rows.config.slice_columns}
                    yield beam.pvalue.TaggedOutput(
                        SAMPLE, {KEY: keys, LABEL: labels, WEIGHT: weights, **places, **answers}
                    )

    def _columns(
        self,
        rows: pa.Table,
        labels: NDArray[Any],
        weights: NDArray[np.float64],
        predictions: dict[str, NDArray[np.float32]],
    ) -> pa.RecordBatch:
        """Label, weight and predictions as numbers, slice columns as text, and columns whose means `readback` needs.

        TFMA fails on an invalid prediction, so it is replaced and counted. Probabilities are clipped as in
        `slipway.evaluation.metrics`, since TFMA's log loss does not clip.
        """
        config = self.rows.config
        columns: dict[str, Any] = {LABEL: labels, WEIGHT: weights}
        for name, values in predictions.items():
            invalid = invalid_predictions(config.task, values)
            clean = without_invalid(values, invalid)
            columns[f"{INVALID}{name}"] = invalid.astype(np.float32)
            regression = config.task == "regression"
            columns[prediction_key(name)] = clean if regression else np.clip(clean, EPSILON, 1 - EPSILON)
            if config.task == "multiclass":
                best = clean.argmax(axis=1)
                columns[f"{RIGHT}{name}"] = (best == labels).astype(np.float32)
                classes = range(len(config.class_names))
                columns |= {f"{CHOSEN}{name}{k}": (best == k).astype(np.float32) for k in classes}
        if config.task == "regression":
            columns[SPREAD] = (labels.astype(np.float64) - self.centre) ** 2
        if config.task == "multiclass":
            for k in range(len(config.class_names)):
                columns |= {f"{WITHIN}{k}": (labels == k).astype(np.float32), f"{HEAVY}{k}": weights * (labels == k)}
        for name in config.slice_columns:
            columns[name] = _texts(rows, name).astype(object)
        return pa.RecordBatch.from_pydict({name: _as_lists(values) for name, values in columns.items()})


def _judged(models: Iterable[str]) -> list[str]:
    """The models whose metrics TFMA computes; those that served before are compared on the sample."""
    return [name for name in models if name in (CANDIDATE, BASELINE)]


def _texts(rows: pa.Table, name: str) -> NDArray[Any]:
    """A slice column as text."""
    codes, texts = encode_column(rows, name)
    return np.array([MISSING if text is None else text for text in texts])[codes]


def _as_lists(values: NDArray[Any]) -> pa.Array:
    """A list column, as TFMA takes them: one list a row."""
    width = values.shape[1] if values.ndim > 1 else 1
    flat = pa.array(values.reshape(-1), pa.binary() if values.dtype == object else None)
    return pa.ListArray.from_arrays(pa.array(np.arange(0, len(flat) + 1, width), pa.int32()), flat)


def measure_on_beam(
    examples_path: str,
    rows: EvalRows,
    load: LoadPredictor,
    paths: Mapping[str, str],
    engine: BeamRun,
    shared: Mapping[str, str],
    examples_uri: str,
) -> Measured:
    """Runs TFMA; the arguments are those of `measure_in_memory`, and how Beam runs.

    `shared` and `examples_uri` are where Beam's workers find the models and the examples.

    Raises:
        DataError: the eval split has no labelled rows.
        GateError: the candidate cannot be scored, or the Beam pipeline failed.
    """
    # One batch is predicted here, where a production model that fails can still be left out.
    models = Models(load, paths, rows)
    batch = next(rows.batches(examples_path))
    models.predict(batch)
    centre = float(rows.labels(batch).mean())
    scored = {name: shared[name] for name in models.paths}
    judged = _judged(scored)
    groups = row_groups(examples_path, "eval")
    options = PipelineOptions(engine.flags, pipeline_type_check=False)
    with scratch_folder(options) as scratch:
        try:
            with beam.Pipeline(options=options) as pipeline:
                _build(pipeline, groups, Score(examples_uri, rows, load, scored, centre), scratch)
        except Exception as error:
            raise GateError(f"TFMA failed on Beam: {error}") from error
        tables, invalid = read_tables(scratch, rows.config, judged, centre)
        sample = dict(np.load(BytesIO(storage.read_bytes(storage.join(scratch, SAMPLE_FILE)))))
    examples = int(tables[0].examples[0])
    columns = {name: sample[f"{PLACE}{name}"] for name in rows.config.slice_columns}
    table = pa.table({LABEL: sample[LABEL], **columns})
    return Measured(
        tables=tables,
        labels=sample[LABEL],
        answers={name: sample[name] for name in scored},
        slicings=[_as_in_tables(one) for one in slice_rows(table, [(), *rows.config.slice_specs])],
        invalid=invalid,
        unlabelled=rows.unlabelled(examples_path),
        problems=models.problems,
        sampled=examples > SAMPLE_ROWS,
        weights=sample[WEIGHT] if rows.config.label.weight else None,
    )


def _as_in_tables(slicing: Slicing) -> Slicing:
    values: list[SliceValues] = [
        tuple(None if text == MISSING else text for text in values) for values in slicing.values
    ]
    return Slicing(slicing.columns, slicing.codes, values)


def _build(pipeline: beam.Pipeline, groups: list[tuple[str, int]], score: Score, scratch: str) -> None:
    import tensorflow_model_analysis as tfma
    from tensorflow_model_analysis.constants import MATERIALIZED_PREDICTION

    models = [
        tfma.types.EvalSharedModel(
            model_name=name, model_path=path, model_type=MATERIALIZED_PREDICTION, is_baseline=name == BASELINE
        )
        for name, path in score.models.items()
        if name in _judged(score.models)
    ]
    scored = (
        pipeline
        | "RowGroups" >> beam.Create(groups, reshuffle=True)
        | "Score" >> beam.ParDo(score).with_outputs(SAMPLE, main="batches")
    )
    config = _with_means(score.rows.config, _judged(score.models))
    _ = scored.batches | "TFMA" >> tfma.ExtractEvaluateAndWriteResults(
        eval_shared_model=models, eval_config=config, output_path=scratch
    )
    _ = (
        scored[SAMPLE]
        | "OneSample" >> beam.CombineGlobally(_sample)
        | "WriteSample" >> beam.Map(_save_sample, storage.join(scratch, SAMPLE_FILE))
    )


def _with_means(config: EvaluationConfig, models: list[str]) -> Any:
    """`eval_config`, and the means from which `readback` derives the metrics that TFMA lacks."""
    result = eval_config(config, BASELINE in models)
    spec = result.metrics_specs.add()
    spec.example_weights.unweighted = True  # each mean names its weight
    means = [(f"{INVALID}{model}", "") for model in models]
    if config.task == "regression":
        means.append((SPREAD, WEIGHT))
    if config.task == "multiclass":
        classes = range(len(config.class_names))
        means += [(f"{RIGHT}{model}", f"{HEAVY}{index}") for model in models for index in classes]
        means += [
            (f"{prefix}{index}", WEIGHT) for prefix in (WITHIN, *(CHOSEN + one for one in models)) for index in classes
        ]
        by_class = result.metrics_specs.add(model_names=models if len(models) > 1 else [])
        by_class.binarize.class_ids.values.extend(classes)
        by_class.metrics.add(class_name="AUC", config='{"name": "auc"}')
    for column, weight in means:
        path = f'"feature_key_path": ["features", "{column}"]'
        weighted = f', "example_weights_key_path": ["features", "{weight}"]' if weight else ""
        name = column if weight == WEIGHT else f"{column}{weight}"
        spec.metrics.add(class_name="Mean", config=f'{{"name": "{name}", {path}{weighted}}}')
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
