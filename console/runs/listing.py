"""The list of runs: filtered, searched, sorted, by pages."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Self
from urllib.parse import quote, urlencode

from aiohttp import web
from markupsafe import Markup

from console.index.kept import Index
from console.index.runs import RunEntry
from console.layout import button, field, get_form, place, respond, select
from console.site import site_of
from slipway.errors import ConfigError
from slipway.evaluation.metric import BEST
from slipway.pages.numbers import MISSING, format_number, format_seconds, format_time
from slipway.pages.page import badge, notice
from slipway.pages.printable import printable
from slipway.runs.where import fulfilled

PAGE_ROWS = 50
REFRESH_SECONDS = 2  # while runs are still being read
NEWEST, LONGEST, NAME = "newest", "longest", "name"
_CONDITION = re.compile(r"[=<>]")


@dataclass(frozen=True)
class Wanted:
    """Which runs, in which order; the query of the page's address."""

    q: str = ""
    module: str = ""
    outcome: str = ""
    sort: str = NEWEST
    page: int = 1

    @classmethod
    def of(cls, request: web.Request) -> Self:
        """What an address asks for; a page that is no number is the first."""
        query = request.query
        page = query.get("page", "")
        return cls(
            query.get("q", "").strip(), query.get("module", ""), query.get("outcome", ""),
            query.get("sort", NEWEST), int(page) if re.fullmatch(r"[1-9]\d{0,5}", page) else 1,
        )  # fmt: skip

    def address(self, page: int) -> str:
        """The address of another page of the same list."""
        named = {"q": self.q, "module": self.module, "outcome": self.outcome, "sort": self.sort, "page": page}
        return f"/runs?{urlencode({name: value for name, value in named.items() if value})}"


async def show(request: web.Request) -> web.Response:
    """The page of all runs."""
    site, wanted = site_of(request), Wanted.of(request)
    index = site.runs
    site.under_way.look()
    await index.entries()
    notices, is_partial = Markup(""), bool(index.missing) or not index.has_looked
    if index.failure:
        notices += notice(f"The runs could not be looked for, so this list may be old: {index.failure}", "warn")
    elif is_partial:
        many = f"{index.missing:,} runs" if index.missing else "Runs"
        notices += notice(f"{many} are still being read. The page loads itself again.")
    body, count = _drawn(index, index.edition, wanted)
    if wanted == Wanted():
        notices += site.under_way.drawn(index.known)
    if not body and not notices:
        body = Markup("<p>There are no runs yet. <code>slipway run</code> makes one.</p>")
    response = respond(request, "Runs", notices + body, subtitle=f"{count} in {place(site.environment.state.runs)}")
    if is_partial:
        response.headers["Refresh"] = str(REFRESH_SECONDS)
    return response


@lru_cache(maxsize=64)
def _drawn(index: Index[RunEntry], edition: int, wanted: Wanted) -> tuple[Markup, str]:
    """The list, and how many runs are in it; drawn once for all who look at an edition of the index."""
    entries = list(index.known.values())
    try:
        found = choose(entries, wanted)
    except ConfigError as error:
        return notice(str(error).removeprefix("--where").lstrip(": "), "warn") + list_body(entries, [], wanted), "none"
    count = f"{len(found):,} of {len(entries):,}" if len(found) < len(entries) else f"{len(entries):,}"
    return list_body(entries, found, wanted) if entries else Markup(""), count


def choose(entries: Sequence[RunEntry], wanted: Wanted) -> list[RunEntry]:
    """The runs that are wanted, in their order; a ConfigError says what is wrong with a condition."""
    found = [
        one
        for one in entries
        if wanted.module in ("", one.module) and wanted.outcome in ("", one.state, str(one.facts.get("verdict", "")))
    ]
    if _CONDITION.search(wanted.q):
        holds = fulfilled([one.facts for one in found], wanted.q)
        found = [one for one, its in zip(found, holds, strict=True) if its]
    elif words := wanted.q.lower().split():
        found = [one for one in found if one.has(words)]
    found.sort(key=lambda one: (one.started, one.name), reverse=True)
    if wanted.sort == NAME:
        found.sort(key=lambda one: one.name)
    elif wanted.sort == LONGEST:
        found.sort(key=lambda one: -(one.seconds or 0))
    elif wanted.sort != NEWEST:
        found.sort(key=lambda one: _rank(one.figures.get(wanted.sort), wanted.sort))
    return found


def _rank(value: float | None, metric: str) -> float:
    """The place of a value among others, the best first, those without last."""
    if value is None or math.isnan(value):
        return math.inf
    best = BEST.get(metric)
    return value if best == "low" else abs(value - 1) if best == "one" else -value


def list_body(entries: Sequence[RunEntry], found: Sequence[RunEntry], wanted: Wanted) -> Markup:
    """The filter, a page of the list, and links to the others."""
    pages = max(math.ceil(len(found) / PAGE_ROWS), 1)
    page = min(wanted.page, pages)
    shown = found[(page - 1) * PAGE_ROWS : page * PAGE_ROWS]
    if not shown:
        return _filter(entries, wanted) + Markup("<p>No run is like that. <a href='/runs'>Show all</a></p>")
    rows = Markup("").join(map(_row, shown))
    table = Markup(
        '<form method="get" action="/runs/compare"><div class="scroll" tabindex="0"><table class="runs"><thead><tr>'
        '<th scope="col">Result</th><th scope="col">Run</th><th scope="col">Data</th>'
        '<th scope="col" class="number">Time</th><th scope="col">Compare</th></tr></thead>'
        "<tbody>{}</tbody></table></div>{}</form>"
    ).format(rows, button("Compare the chosen runs"))
    return _filter(entries, wanted) + table + _pager(wanted, page, pages)


def _filter(entries: Sequence[RunEntry], wanted: Wanted) -> Markup:
    modules = sorted({one.module for one in entries if one.module} | {wanted.module} - {""})
    outcomes = sorted(
        {one.state for one in entries}
        | {str(one.facts["verdict"]) for one in entries if one.verdict}
        | {wanted.outcome} - {""}
    )
    metrics = sorted({name for one in entries for name in one.figures})
    sorts = [(NEWEST, "newest first"), *((name, f"best {_said(name)}") for name in metrics), (LONGEST, "longest first"),
             (NAME, "name")]  # fmt: skip
    form = get_form(
        "/runs",
        field("Search, or a condition", "q", wanted.q, kind="search", hint="cash, or auc > 0.9 and seed = 42"),
        select("Module", "module", [("", "all"), *((name, name) for name in modules)], wanted.module),
        select("State or verdict", "outcome", [("", "all"), *((name, name) for name in outcomes)], wanted.outcome),
        select("Order", "sort", sorts, wanted.sort),
        button("Show"),
    )
    return Markup('<div class="find">{}</div>').format(form)


def _row(entry: RunEntry) -> Markup:
    figures = list(entry.figures.items())
    first = Markup('<b class="figure">{}</b> <span class="note">{}</span>').format(
        format_number(figures[0][1]) if figures else MISSING, _said(figures[0][0]) if figures else "no metric"
    )
    others = " · ".join(f"{_said(name)} {format_number(value)}" for name, value in figures[1:3])
    said = badge(entry.verdict or entry.state, entry.tone)
    reason = entry.problem or ("" if entry.tone == "good" else next(iter(entry.reasons), ""))
    tags = Markup("").join(Markup(" <code>{}={}</code>").format(*map(printable, tag)) for tag in entry.tags.items())
    by = f"by {entry.started_by}" if entry.started_by else ""
    told = filter(None, [entry.module, f"on {entry.target}", format_time(entry.started), by, entry.note])
    about = Markup("<small>{}{}</small>").format(printable(" · ".join(told)), tags)
    return Markup(
        '<tr><td class="result">{}<small>{}</small></td><th scope="row"><a href="{}">{}</a><div>{}</div>{}{}</th>'
        '<td class="data">{}<small>{}</small></td><td class="number">{}</td><td><label class="pick">'
        '<input type="checkbox" name="run" value="{}"><span class="hidden">Compare {}</span></label></td></tr>'
    ).format(
        first,
        others,
        f"/runs/{quote(entry.name, safe='')}",
        printable(entry.name),
        said,
        Markup('<small class="reason">{}</small>').format(printable(reason)[:200]) if reason else "",
        about,
        printable(entry.data.rsplit("/", 1)[-1])[:80] or MISSING,
        f"{entry.rows:,} rows · {entry.data_digest[:12]}" if entry.rows else "",
        format_seconds(entry.seconds),
        entry.name,
        printable(entry.name),
    )


def _pager(wanted: Wanted, page: int, pages: int) -> Markup:
    if pages == 1:
        return Markup("")
    link = Markup('<a href="{}" rel="{}">{}</a>')
    before = (
        link.format(wanted.address(page - 1), "prev", "Newer" if wanted.sort == NEWEST else "Before")
        if page > 1
        else ""
    )
    after = (
        link.format(wanted.address(page + 1), "next", "Older" if wanted.sort == NEWEST else "After")
        if page < pages
        else ""
    )
    return Markup('<nav class="pager" aria-label="Pages">{} <span>Page {} of {}</span> {}</nav>').format(
        before, page, pages, after
    )


def _said(metric: str) -> str:
    return metric.replace("_", " ")
