import re
from html.parser import HTMLParser

import pytest
from markupsafe import Markup

from slipway.pages import charts
from slipway.pages.axes import nice_ticks
from slipway.pages.histograms import Bins, histogram
from slipway.pages.numbers import format_number, format_seconds, format_share
from slipway.pages.page import badge, details, facts, grid, notice, render_page, section, table, tiles
from slipway.runs.record import Step, StepState
from slipway.runs.report import step_graph

NAN = float("nan")
VOID = {"meta", "br"}


class _Reader(HTMLParser):
    """Checks that every element is closed in order; collects tags and attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag


def step(name: str, *needs: str, state: StepState = "succeeded") -> Step:
    return Step(name=name, state=state, needs=list(needs))


def every_part() -> Markup:
    lines = [
        charts.Series("train", [1, 2, 3], [0.5, NAN, 0.3]),
        charts.Series("validation", [1, 2, 3], [0.6, 0.5, 0.4]),
    ]
    bins = [Bins("train", [0, 1, 3], [5, 10]), Bins("eval", [0, 1, 3], [1, 3])]
    return section(
        "All",
        tiles([("auc", "0.95", "production 0.94")]),
        facts([("seed", "42")]),
        notice("why", "bad"),
        details("more", Markup("<p>x</p>")),
        table(["name", "value"], [["<script>alert(1)</script>", "1"], [badge("passed", "good"), "2"]]),
        grid(
            charts.line_chart("Loss", lines, x_label="epoch", marks=True),
            charts.calibration_chart("Calibration", [0.1, 0.9], [0.2, NAN], [10, 0]),
            histogram("miles", bins, x_label="miles"),
            histogram("", bins, mini=True),
            charts.bar_list("company", [('Taxi "A" & <b>', 10), ("B", 0)], share_of=10),
            charts.confusion_matrix("Confusion", ["no", "yes"], [[5, 0], [0, 0]]),
        ),
        step_graph([Step(name="a", state="succeeded", started=0, seconds=1), step("b", "a", state="failed")], 0),
    )


def test_render_page_every_part_is_well_formed() -> None:
    reader = _Reader(render_page("Run <1>", every_part(), subtitle="a & b"))
    assert reader.open == []


def test_render_page_refers_to_nothing_outside_itself() -> None:
    more = Markup("").join(section(f"Part {number}", Markup("")) for number in range(4))
    page = render_page("Run", every_part() + more)
    seen = _Reader(page).seen
    assert {tag for tag, _ in seen}.isdisjoint({"link", "img", "iframe"})
    assert [attributes for tag, attributes in seen if tag == "script"] == [{}]
    assert "http" not in page
    assert "url(" not in page
    assert "@import" not in page


def test_render_page_escapes_what_is_not_markup() -> None:
    page = render_page("<1>", every_part())
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "Taxi &#34;A&#34; &amp; &lt;b&gt;" in page
    assert "<title>&lt;1&gt;</title>" in page


def test_render_page_every_drawing_has_a_name() -> None:
    page = render_page("Run", every_part())
    drawings = [attributes for tag, attributes in _Reader(page).seen if tag == "svg"]
    assert drawings
    assert all(one.get("role") == "img" or one.get("aria-hidden") == "true" for one in drawings)


@pytest.mark.parametrize("lines", [[], [charts.Series("a", [], [])], [charts.Series("a", [1], [NAN])]])
def test_line_chart_without_a_finite_point_is_an_empty_frame(lines: list[charts.Series]) -> None:
    assert "nan" not in charts.line_chart("Loss", lines)


@pytest.mark.parametrize(
    ("edges", "counts"),
    [([], []), ([3, 3], [7]), ([0, 1], [0]), ([float("-inf"), 0, 1], [1, 2]), ([-1e300, 1e300], [4])],
)
def test_histogram_of_odd_buckets_has_finite_coordinates(edges: list[float], counts: list[float]) -> None:
    drawn = histogram("x", [Bins("train", edges, counts)])
    assert "nan" not in drawn
    assert 'inf"' not in drawn


def test_histogram_overlaid_series_compare_by_share() -> None:
    bins = [Bins("train", [0, 1, 2], [200, 200]), Bins("eval", [0, 1, 2], [1, 1])]
    heights = [attrs["height"] for tag, attrs in _Reader(histogram("x", bins)).seen if tag == "rect"]
    assert len(set(heights)) == 1


def test_histogram_tenths_at_one_value_are_one_bucket_of_their_whole_share() -> None:
    drawn = histogram("x", [Bins("train", [0, 0, 0, 1, 1], [3, 4, 1, 2])])
    assert re.findall("train: ([^<]*)<", drawn) == ["70 % in 0 to 0.01000", "10 % in 0 to 1", "20 % in 1 to 1.010"]


@pytest.mark.parametrize(
    ("edges", "unit", "highest"),
    [
        ([0, 0.05, 0.1], "bucket", 75),
        ([1, 2, 3], "bucket", 75),
        ([0, 1, 10], "1", 25),
        ([0, 0.3, 10], "0.2", 16.7),
        ([0, 1e-9, 10], "0.1", 25),
    ],
)
def test_histogram_has_a_scale_in_percent_and_no_bucket_above_its_share(
    edges: list[float], unit: str, highest: float
) -> None:
    drawn = histogram("x", [Bins("train", edges, [1, 3])])
    assert f">% of values per {unit}<" in drawn
    ticks = [float(text) for text in re.findall(r'<text x="37[^>]*>([\d.]+)<', drawn)]
    assert highest <= max(ticks) <= min(100, 1.5 * highest)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0, 1, [0, 0.5, 1.0]), (0, 10, [0, 5, 10]), (3, 3, [2.6, 2.8, 3.0, 3.2, 3.4]), (-2, 2, [-2, -1, 0, 1, 2])],
)
def test_nice_ticks_are_round_and_cover_the_range(low: float, high: float, ticks: list[float]) -> None:
    assert nice_ticks(low, high) == ticks


def test_step_graph_links_the_logs_of_a_local_run() -> None:
    steps = [step("a").model_copy(update={"log": "/home/runs/taxi-1/logs/a.log"}), step("b", "a")]
    links = [attrs["href"] for tag, attrs in _Reader(step_graph(steps, 0)).seen if tag == "a"]
    assert links == ["logs/a.log"]


def _lane_of(page: Markup) -> list[str | None]:
    return [attrs["cx"] for tag, attrs in _Reader(page).seen if tag == "circle"]


def test_step_graph_chain_with_implied_needs_is_one_line() -> None:
    drawn = step_graph([step("a"), step("b", "a"), step("c", "a", "b")], 0)
    assert len(set(_lane_of(drawn))) == 1
    assert sum(tag == "path" for tag, _ in _Reader(drawn).seen) == 2


def test_step_graph_branches_have_their_own_lanes_and_meet_again() -> None:
    steps = [step("train"), step("evaluate", "train"), step("serve", "train"), step("push", "evaluate", "serve")]
    train, evaluate, serve, push = _lane_of(step_graph(steps, 0))
    assert train == evaluate == push
    assert serve != train


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (14169, "14,169"), (0.951234, "0.9512"), (12345.678, "12,346"), (-0.5, "−0.5000"), (0.0, "0"),  # noqa: RUF001
        (1.5e-7, "1.50e-07"), (None, "–"), (NAN, "–"), (float("inf"), "∞"), (-0.0, "0"),  # noqa: RUF001
    ],
)  # fmt: skip
def test_format_number_keeps_few_digits(value: float | None, text: str) -> None:
    assert format_number(value) == text


def test_format_share_never_rounds_to_none_or_all() -> None:
    assert [format_share(value) for value in (0, 0.0004, 0.123, 0.9999, 1)] == [
        "0 %", "<0.1 %", "12.3 %", ">99.9 %", "100 %",
    ]  # fmt: skip


def test_format_seconds_changes_its_unit() -> None:
    assert [format_seconds(value) for value in (0.04, 12.3, 59.7, 185, 7620)] == [
        "0.0 s", "12 s", "1 min 00 s", "3 min 05 s", "2 h 07 min",
    ]  # fmt: skip


def test_render_page_of_many_sections_begins_with_links_to_them() -> None:
    sections = [section(f"Part {number} & more", Markup("<p>x</p>")) for number in range(4)]
    page = render_page("Run", Markup("").join(sections))
    anchors = [attrs["id"] for tag, attrs in _Reader(page).seen if tag == "section"]
    links = [attrs["href"] for tag, attrs in _Reader(page).seen if tag == "a"]
    assert links == [f"#{anchor}" for anchor in anchors]
    assert len(set(links)) == 4
    assert "&amp;amp;" not in page
    short = render_page("Run", sections[0])
    assert "<nav" not in short
    assert "<script" not in short
