"""The verdict on a model as a page: Markdown, which the UIs of Kubeflow and Vertex show at the step."""

import re

from slipway.evaluation.metric import BEST, Best, how_much_worse, slice_metrics
from slipway.evaluation.results import Evaluation
from slipway.pages.numbers import format_number
from slipway.remote.address import browser_link
from slipway.runs.record import REPEATED, Outcome, RunContext
from slipway.runs.store import REPORT
from slipway.stores import storage

# Whatever Markdown could take for its own, in names of columns and in values of the data.
_SPECIAL = re.compile(r"([^\w\s.,:;=/%']|_|:(?=//))")


def describe_verdict(outcome: Outcome, evaluation: Evaluation, run: RunContext) -> str:
    """Pushed or refused, why, against which baseline, and where the report and the version are."""
    model = _plain(run.lineage.module)
    word = "Repeated" if outcome.verdict == REPEATED else "Refused"
    title = f"Pushed: {model}, version {outcome.version}" if outcome.version else f"{word}: {model} was not pushed"
    reasons = "\n".join(f"- {_plain(reason)}" for reason in outcome.reasons)
    links = [f"- {_link('report', storage.join(run.uri, REPORT))}, written at the run's end"]
    if outcome.path:
        links.insert(0, f"- {_link(f'version {outcome.version}', outcome.path, folder=True)}")
    parts = [f"# {title}", reasons, "## Against the baseline", _compare(evaluation), "## More", "\n".join(links)]
    return "\n\n".join(parts) + "\n"


def _compare(evaluation: Evaluation) -> str:
    if not evaluation.baseline_uri:
        return "There is none: no other version is in production."
    baseline = _link(f"version {evaluation.baseline_version}", evaluation.baseline_uri, folder=True)
    theirs = evaluation.overall.baseline
    if theirs is None:
        return f"The baseline is {baseline}. It cannot be scored: {_plain(evaluation.baseline_problem or '')}"
    ours = evaluation.overall.candidate
    best: dict[str, Best | None] = {name: BEST[name] for name in slice_metrics(evaluation.task)}
    best.update(evaluation.own)
    rows = [_row(name, best[name], ours.get(name), theirs.get(name)) for name in best]
    head = "| metric | this model | baseline | difference | |\n|---|---:|---:|---:|---|"
    return "\n".join([f"The baseline is {baseline}.", "", head, *rows])


def _row(metric: str, best: Best | None, ours: float | None, theirs: float | None) -> str:
    cells = [_plain(metric), format_number(ours), format_number(theirs), "", ""]
    if ours is not None and theirs is not None:
        worse = how_much_worse(best, ours, theirs)
        cells[3:] = [f"{ours - theirs:+.4f}", "worse" if worse > 0 else "better" if worse < 0 else "the same"]
    return f"| {' | '.join(cells)} |"


def _link(text: str, uri: str, *, folder: bool = False) -> str:
    address = browser_link(uri, folder=folder)
    return f"[{text}]({address})" if address else f"{text} (`{uri}`)"


def _plain(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
