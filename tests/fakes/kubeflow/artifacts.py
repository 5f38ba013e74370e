"""What Kubeflow's launcher and UI take of a step's artifacts; what they refuse, or show wrongly, is an AssertionError.

In kubeflow/pipelines after 2.17: `getExecutorOutputFile` (backend/src/v2/component/launcher_v2.go),
`StructValueToMLMDValue` (backend/src/v2/metadata/converter.go), `FormatScalarMetricArtifacts` (client.go beside it);
frontend/src/components/viewers/: MetricsVisualizations.tsx, ROCCurveHelper.tsx, PagedTable.tsx, MarkdownViewer.tsx.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn

PAGE = 10  # rows of a table of scalars that are shown without a click (`rowsPerPage`)
LONGEST_MARKDOWN = 50 * 1000 * 8  # `MAX_MARKDOWN_STR_LENGTH`
CONFIDENCE = ("confidenceThreshold", "falsePositiveRate", "recall")  # all numbers


def read_properties(executor_output: Path) -> dict[str, dict[str, Any]]:
    """The custom properties that each artifact of a step gets in ML Metadata, by the artifact's name."""

    def refuse(constant: str) -> NoReturn:
        raise AssertionError(f"protojson: {constant} is no JSON")

    written = json.loads(executor_output.read_text(encoding="utf-8"), parse_constant=refuse)
    return {
        name: {key: to_property(value) for key, value in found["artifacts"][0].get("metadata", {}).items()}
        for name, found in written.get("artifacts", {}).items()
    }


def to_property(value: Any) -> Any:
    """A value of an artifact's metadata as ML Metadata keeps it."""
    assert value is not None, "unknown/unsupported value type *structpb.Value_NullValue"
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, str):
        return value
    return {"list" if isinstance(value, list) else "struct": value}


def scalar_pages(properties: dict[str, Any]) -> list[list[str]]:
    """Names of the scalars of one `system.Metrics`, page by page."""
    for name, value in properties.items():
        assert isinstance(value, float), f"{name}: what is no double becomes 0 in MLflow: {value!r}"
    names = sorted(properties, key=lambda name: name.encode("utf-16-be"))  # JavaScript compares UTF-16
    return [names[start : start + PAGE] for start in range(0, len(names), PAGE)]


def check_curve(properties: dict[str, Any]) -> None:
    """The ROC curve of a `system.ClassificationMetrics`."""
    for point in properties["confidenceMetrics"]["list"]:
        assert all(isinstance(point.get(key), int | float) for key in CONFIDENCE), f"not a ConfidenceMetric: {point}"


def check_matrix(properties: dict[str, Any]) -> None:
    """The confusion matrix of a `system.ClassificationMetrics`."""
    matrix = properties["confusionMatrix"]["struct"]
    names, rows = ([one["displayName"] for one in matrix["annotationSpecs"]], [one["row"] for one in matrix["rows"]])
    assert all(isinstance(name, str) for name in names)
    assert len(names) == len(rows), f"annotationSpecs has different length {len(names)} than rows length {len(rows)}"
    for row in rows:
        assert len(row) == len(rows), f"row: {row} has different length of columns from rows."
        assert all(isinstance(cell, int | float) for cell in row)


def check_markdown(text: str) -> None:
    """A `system.Markdown`."""
    assert len(text) <= LONGEST_MARKDOWN, "This markdown is too large to render completely."
