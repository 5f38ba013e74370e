"""The result of a check, before the rows are counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slipway.data.validation.report import Severity

# TFDV reports every anomaly as an error unless told otherwise (`UpdateSeverityForAnomaly` in its schema.cc). These two
# are warnings here: a column that the schema does not know never reaches the model, so it cannot harm it (TFDV has the
# option `new_features_are_warnings` for it); and a feature that the run before did not have cannot be compared, which
# would otherwise block the first run with it, and so every later one.
WARNINGS = frozenset({"SCHEMA_NEW_COLUMN", "COMPARATOR_CONTROL_DATA_MISSING"})


@dataclass(frozen=True)
class Condition:
    """Predicate that selects offending values `v`; with `of_row`, offending rows (value `x`, of `size` values)."""

    sql: str
    parameters: tuple[Any, ...] = ()
    of_row: bool = False


@dataclass(frozen=True)
class Finding:
    """One anomaly of a feature. `type`, `short` and `description` are TFDV's; `bound` and `fix` quote the schema."""

    type: str
    short: str
    description: str
    fix: str
    bound: str = ""
    condition: Condition | None = None
    rows: int | None = None
    example: str | None = None

    @property
    def severity(self) -> Severity:
        """Whether the run stops."""
        return "WARNING" if self.type in WARNINGS else "ERROR"
