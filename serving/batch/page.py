"""The pages of a batch prediction: what the data are like, and what was predicted."""

from __future__ import annotations

from markupsafe import Markup

from serving.batch.check import BatchCheck
from serving.batch.finish import Manifest
from serving.batch.job import Job
from slipway.data.validation.page import anomalies_table
from slipway.monitoring.columns import Column
from slipway.pages.numbers import format_number
from slipway.pages.page import badge, code, facts, notice, render_page, section, table, tiles

LISTED_PARTS = 50


def check_page(job: Job, checked: BatchCheck) -> str:
    """What is wrong with the data, and what moved since training."""
    return render_page(
        f"Data for {job.model}", _of_data(checked), subtitle=f"{job.data_uri}, for version {job.version}"
    )


def batch_page(manifest: Manifest, checked: BatchCheck) -> str:
    """What was predicted, by which version, and what the data are like."""
    job = manifest.job
    figures = tiles(
        [
            ("rows", format_number(manifest.rows), ""),
            ("predicted", format_number(manifest.predicted), ""),
            ("quarantined", format_number(manifest.quarantined), job.quarantine if manifest.quarantined else ""),
            ("version", str(job.version), job.model),
        ]
    )
    origin = facts(
        [
            ("data", code(job.data_uri)),
            ("digest of the data", code(job.source_digest)),
            ("digest of the model", code(job.model_digest)),
            ("predictions", code(job.to)),
            ("manifest", code(job.manifest)),
        ]
    )
    parts = table(
        ["part", "SHA-256", "rows", "quarantined", "bytes"],
        [
            [code(one.path), code(one.sha256), format_number(one.rows), format_number(one.quarantined),
             format_number(one.size)] for one in manifest.parts[:LISTED_PARTS]
        ],
        text_columns=2,
    )  # fmt: skip
    more = len(manifest.parts) - LISTED_PARTS
    body = section("Predictions", figures, origin)
    body += section("Parts", parts, note=f"and {more:,} more, in the manifest" if more > 0 else "")
    return render_page(f"Predictions of {job.model}", body + _of_data(checked), subtitle=f"version {job.version}")


def _of_data(checked: BatchCheck) -> Markup:
    body = Markup("").join(notice(note, "warn") for note in checked.notes)
    found = checked.validation.anomalies
    if checked.validation.errors:
        body += notice("The data were refused: nothing was predicted.", "bad")
    body = section("The data", body, anomalies_table(found) if found else notice("They fit their schema.", "good"))
    if checked.columns:
        rows = [_row(one) for one in sorted(checked.columns, key=lambda one: -one.level)]
        headers = ["", "feature", "what", "distance", "bound", "missing", "missing in training"]
        body += section("Beside training", table(headers, rows, text_columns=3))
    return body


def _row(one: Column) -> list[str | Markup]:
    state = (
        badge("broken", "bad")
        if one.broken
        else badge("drifted", "warn")
        if one.baseline.drifted
        else badge("alike", "good")
    )
    bound = max(one.baseline.threshold, one.baseline.noise)
    now, trained = one.missing
    return [state, one.name, one.broken, f"{one.baseline.distance:.4f}", f"{bound:.4f}", f"{now:.1%}", f"{trained:.1%}"]
