"""The verdict on a model as a page: Markdown, which the UIs of Kubeflow and Vertex show at the step."""

import re

from slipway.evaluation.metric import how_much_worse, slice_metrics
from slipway.evaluation.results import Evaluation
from slipway.pages.numbers import format_number
from slipway.remote.address import browser_link
from slipway.runs.record import Outcome, RunContext
from slipway.runs.store import REPORT
from slipway.stores import storage

# Whatever Markdown could take for its own, in names of columns and in values of the data.
_SPECIAL = re.compile(r"([^\w\s.,:;=/%']|_|:(?=//))")


def describe_verdict(outcome: Outcome, evaluation: Evaluation, run: RunContext) -> str:
    """Pushed or refused, why, against which baseline, and where the report and the version are."""
    model = _plain(run.lineage.module)
    title = f"Pushed: {model}, version {outcome.version}" if outcome.version else f"Refused: {model} was not pushed"
    reasons = "\n".join(f"- {_plain(reason)}" for reason in outcome.reasons)
    places = {"report, written at the run's end": _link(storage.join(run.uri, REPORT))}
    if outcome.path:
        places["version"] = _link(outcome.path, folder=True)
    listed = "\n".join(f"- {name}: {place}" for name, place in places.items())
    return f"# {title}\n\n{reasons}\n\n## Against the baseline\n\n{_compare(evaluation)}\n\n## More\n\n{listed}\n"


def _compare(evaluation: Evaluation) -> str:
    if not evaluation.baseline_uri:
        return "There is none: no other version is in production."
    baseline = f"version {evaluation.baseline_version}, {_link(evaluation.baseline_uri, folder=True)}"
    theirs = evaluation.overall.baseline
    if theirs is None:
        return f"The baseline is {baseline}. It cannot be scored: {_plain(evaluation.baseline_problem or '')}"
    ours = evaluation.overall.candidate
    rows = [_row(name, ours.get(name), theirs.get(name)) for name in slice_metrics(evaluation.task)]
    head = "| metric | this model | baseline | difference | |\n|---|---:|---:|---:|---|"
    return "\n".join([f"The baseline is {baseline}.", "", head, *rows])


def _row(metric: str, ours: float | None, theirs: float | None) -> str:
    cells = [_plain(metric), format_number(ours), format_number(theirs), "", ""]
    if ours is not None and theirs is not None:
        worse = how_much_worse(metric, ours, theirs)
        cells[3:] = [f"{ours - theirs:+.4f}", "worse" if worse > 0 else "better" if worse < 0 else "the same"]
    return f"| {' | '.join(cells)} |"


def _link(uri: str, *, folder: bool = False) -> str:
    address = browser_link(uri, folder=folder)
    return f"[{_plain(uri)}]({address})" if address else f"`{uri}`"


def _plain(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
