"""The page over HTTP: answers, statuses, and whom it refuses."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
import socket
from typing import Any
from unittest import mock

import numpy as np
import pytest
from aiohttp import FormData

from serving.predict_page.form import Field, Form
from slipway.data.images import encode_png
from slipway.errors import StoreError
from tests.fakes.loopback_server import Answer, Request
from tests.serving.predict_page.asked import FORM, Client, one, visit
from tests.serving.predict_page.odd_server import OddServer

HOSTILE = ["<script>alert(1)</script>", "\"'><b>", "../../etc/passwd", "a\x00b", "\u202eevil", "\x1b[2J", "x" * 10_000]


def post(address: str, data: Any, path: str = "/taxi", form: Form | None = FORM, **headers: str) -> tuple[int, str]:
    async def look(client: Client) -> tuple[int, str]:
        answer = await client.post(
            path, data=data, headers={name.replace("_", "-"): its for name, its in headers.items()}
        )
        return answer.status, await answer.text()

    found: tuple[int, str] = visit(one(address, form), look)
    return found


def get(
    path: str, form: Form | None = FORM, address: str = "127.0.0.1:1", **headers: str
) -> tuple[int, str, dict[str, str]]:
    async def look(client: Client) -> tuple[int, str, dict[str, str]]:
        answer = await client.get(path, headers=headers, allow_redirects=False)
        return answer.status, await answer.text(), dict(answer.headers)

    found: tuple[int, str, dict[str, str]] = visit(one(address, form), look)
    return found


def test_get_shows_the_form_filled_with_a_real_row_and_asks_no_server() -> None:
    status, page, headers = get("/taxi?row=1")
    assert (status, 'value="3"' in page, "Will they tip?" in page, "USD" in page) == (200, True, True, True)
    assert 'min="0"' in page
    assert 'max="1000"' in page
    policy = headers["Content-Security-Policy"]
    assert ("default-src 'none'" in policy, "unsafe" in policy, "<script" in page, "style=" in page) == (
        True,
        False,
        False,
        False,
    )
    assert (headers["Server"], headers["Cache-Control"]) == ("slipway", "no-store")


@pytest.mark.parametrize("row", ["2", "99999", "-1", "x", "9" * 30])
def test_get_of_any_row_is_a_form(row: str) -> None:
    assert get(f"/taxi?row={row}")[0] == 200


def test_get_of_the_site_leads_to_its_only_model() -> None:
    status, _, headers = get("/")
    assert (status, headers["Location"]) == (303, "/taxi")


def test_get_without_a_form_makes_one_of_the_servers_signature() -> None:
    with OddServer() as server:
        status, page, _ = get("/taxi", None, server.address)
    assert (status, 'name="fare"' in page, 'name="payment"' in page) == (200, True, True)


def test_get_without_a_form_and_a_server_is_a_bad_gateway() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert get("/taxi", None, f"127.0.0.1:{port}")[0] == 502


def test_post_says_answer_probability_effects_version_and_keeps_the_values() -> None:
    with OddServer(outputs=[[0.25, 0.75], [0.65, 0.35], [0.15, 0.85]], rank=2) as server:
        status, page = post(server.address, {"fare": "12.5", "payment": "Card"})
    assert status == 200
    assert re.search(r"<h1>output 1 \(75 %\)</h1>", page)
    assert 'width="75.00"' in page
    assert page.index("+40.0 points") < page.index("−10.0 points")  # noqa: RUF001 - the largest first
    assert "the median, 8" in page
    assert "instead of missing" in page
    assert "Version 7" in page
    assert 'value="12.5"' in page
    assert page.index("<h1>") < page.index("<form")


def test_post_says_of_every_input_whether_it_was_compared() -> None:
    fields = (
        Field(name="moved", dtype="float32"),
        Field(name="still", dtype="float32", saw_missing=True),
        Field(name="usual", dtype="float32", saw_missing=False, typical="8"),
        Field(name="empty", dtype="float32"),
    )
    with OddServer(outputs=[1.0, 2.0, 1.0]) as server:
        server.types = dict.fromkeys(("moved", "still", "usual", "empty"), "DT_FLOAT")
        data = {"moved": "1", "still": "2", "usual": "8"}
        _, page = post(server.address, data, form=Form(model="taxi", fields=fields))
    said = " ".join(re.sub("<[^>]*>", " ", page[: page.index("<form")]).split())
    for text in ("moved 1", "instead of missing", "No difference: still.", "value: usual.", "Missing already: empty."):
        assert text in said
    wide = Form(model="taxi", fields=tuple(Field(name=f"f{number}", dtype="float32") for number in range(203)))
    with OddServer(outputs=[1.0] * 201) as server:
        server.types = dict.fromkeys((field.name for field in wide.fields), "DT_FLOAT")
        _, page = post(server.address, {field.name: "1" for field in wide.fields}, form=wide)
    assert "Not tried: 3 further inputs" in page


def test_post_asks_for_the_row_and_its_variations_in_one_request() -> None:
    with OddServer(outputs=[1.0, 2.0, 3.0]) as server:
        post(server.address, {"fare": "12.5", "payment": "Card"})
        assert len(server.asked("POST", "/v1/models/taxi/versions/7:predict")) == 1


def test_post_of_a_regression_says_the_number_and_how_far_off_it_is() -> None:
    with OddServer(outputs=[1234.5]) as server:
        _, page = post(server.address, {}, form=FORM.model_copy(update={"usual_error": 12.0}))
    assert "<h1>1,234</h1>" in page or "<h1>1,235</h1>" in page
    assert "12" in page[page.index("off by") :][:40]


@pytest.mark.parametrize("answer", [float("nan"), float("inf")])
def test_post_answered_with_no_number_says_so(answer: float) -> None:
    with OddServer(outputs=[answer]) as server:
        status, page = post(server.address, {})
    assert (status, "<h1>No number</h1>" in page) == (200, True)


def test_post_of_a_wrong_value_names_the_field_keeps_the_value_and_asks_nothing() -> None:
    with OddServer() as server:
        status, page = post(server.address, {"fare": "abc", "payment": "Card"})
        assert not server.requests
    assert (status, 'value="abc"' in page, 'aria-invalid="true"' in page, 'href="#input-0"' in page) == (
        422,
        True,
        True,
        True,
    )
    assert "<option selected>Card" in page


def test_post_with_the_list_and_the_text_beside_it_apart_is_refused() -> None:
    with OddServer() as server:
        status, page = post(server.address, {"payment": "Card", "slipway:other:payment": "Voucher"})
    assert (status, "Voucher" in page) == (422, True)


def test_post_of_another_value_than_those_of_the_list_sends_it() -> None:
    with OddServer(outputs=[1.0, 1.0]) as server:
        status, page = post(server.address, {"payment": "slipway:other", "slipway:other:payment": "Voucher"})
        assert (status, b"Vm91Y2hlcg==" in server.requests[-1].body) == (200, True)
    assert 'value="Voucher"' in page


@pytest.mark.parametrize("text", HOSTILE)
def test_post_of_hostile_text_is_shown_as_text(text: str) -> None:
    with OddServer(outputs=[1.0, 1.0]) as server:
        status, page = post(server.address, {"payment": "slipway:other", "slipway:other:payment": text})
    assert status == 200
    assert not re.search(r"<(script|b)>(alert|$)", page, re.MULTILINE)
    assert "alert(1)" not in page or "&lt;script&gt;" in page


def test_hostile_names_of_a_form_are_shown_as_text() -> None:
    named = [Field(name=text[:100], dtype="string", description=text, unit=text, choices=(text,)) for text in HOSTILE]
    form = Form(model="taxi", question=HOSTILE[0], label=HOSTILE[1], fields=tuple(named))
    _, page, _ = get("/taxi", form)
    assert "<script" not in page
    assert "<b>" not in page


@pytest.mark.parametrize(
    ("path", "status", "passed_on"),
    [
        ("/v1/models/taxi", 503, 503),
        ("/v1/models/taxi", 404, 502),
        ("/v1/models/taxi/versions/7:predict", 400, 422),
        ("/v1/models/taxi/versions/7:predict", 429, 503),
        ("/v1/models/taxi/versions/7:predict", 500, 502),
    ],
)
def test_post_passes_on_what_the_server_says_with_a_line_and_keeps_the_form(
    path: str, status: int, passed_on: int
) -> None:
    with OddServer() as server:
        for method in ("GET", "POST"):
            server.fail(method, path, status, times=99)
        found, page = post(server.address, {"fare": "9.75"})
    assert (found, str(status) in page, 'value="9.75"' in page) == (passed_on, True, True)


def test_post_to_a_slow_server_is_a_gateway_timeout() -> None:
    with OddServer() as server:
        server.hang("POST", ".*:predict", 3, times=9)
        assert post(server.address, {})[0] == 504


KEYS = ("model_version_status", "metadata", "outputs")
ODD: list[Any] = [None, 3, "x", [[]], [{}], {"signature_def": {"signature_def": {"raw": 3}}}, {"signature_def": 7}]
GARBAGE = [b"", b"<html>no", b"null", b"[]", b"[" * 100_000, b"\xff\xfe"]
GARBAGE += [json.dumps(dict.fromkeys(KEYS, value)).encode() for value in ODD]


@pytest.mark.parametrize("path", ["", "/versions/7/metadata", "/versions/7:predict"])
@pytest.mark.parametrize("content", GARBAGE)
def test_post_to_a_server_that_answers_garbage_is_a_bad_gateway_with_a_line(path: str, content: bytes) -> None:
    class Garbage(OddServer):
        def handle(self, request: Request) -> Answer:
            its_own = request.path == f"/v1/models/taxi{path}"
            return Answer(200, content) if its_own else super().handle(request)

    with Garbage() as server:
        status, page = post(server.address, {"fare": "9.75"})
    assert (status, 'role="alert"' in page, 'value="9.75"' in page) == (502, True, True)


def test_post_without_a_server_is_a_bad_gateway() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert post(f"127.0.0.1:{port}", {"fare": "1"})[0] == 502


IMAGE = Form(model="taxi", fields=(Field(name="fare", dtype="int64", shape=(2, 2, 1), required=True),))


def upload(content: bytes) -> FormData:
    data = FormData()
    data.add_field("slipway:file:fare", io.BytesIO(content), filename="../../x.png", content_type="image/png")
    return data


def test_post_of_an_image_asks_with_its_pixels_and_shows_it() -> None:
    with OddServer(types={"fare": "DT_INT64"}, shape=(2, 2, 1)) as server:
        status, page = post(server.address, upload(encode_png(np.array([0, 1, 2, 255]), (2, 2, 1), 0, 255)), form=IMAGE)
    assert status == 200
    assert 'src="data:image/png;base64,' in page


def pictures(*contents: bytes, download: bool = False) -> FormData:
    data = FormData(quote_fields=False)
    for number, content in enumerate(contents):
        data.add_field("slipway:file:fare", io.BytesIO(content), filename=f"<b>{number}.png", content_type="image/png")
    if download:
        data.add_field("slipway:download", "1")
    return data


def test_pictures_are_a_table_of_answers_by_their_names() -> None:
    good, large = (encode_png(np.zeros(size * size), (size, size, 1), 0, 255) for size in (2, 3))
    with OddServer(outputs=[[0.25, 0.75], [0.5, 0.5]], rank=2) as server:
        server.types, server.shape = {"fare": "DT_INT64"}, (2, 2, 1)
        status, page = post(server.address, pictures(good, large, b"GIF89a", good), "/taxi/table", IMAGE)
        assert len(server.asked("POST", "/v1/models/taxi/versions/7:predict")) == 1
        _, text = post(server.address, pictures(good, large, good, download=True), "/taxi/table", IMAGE)
    assert (status, "<h1>2 answers</h1>" in page, "picture 2: an image of 3 x 3" in page) == (200, True, True)
    assert (page.count('<img src="data:image/png'), "&lt;b&gt;3.png" in page, "<b>" in page) == (2, True, False)
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(row["picture"], row["class"]) for row in rows] == [
        ("<b>0.png", "output 1"), ("<b>1.png", ""), ("<b>2.png", "output 0")
    ]  # fmt: skip
    assert rows[1]["problem"].startswith("picture 2: ")


def test_pictures_have_a_field_of_their_own_and_bounds() -> None:
    status, page, _ = get("/taxi/table", IMAGE)
    assert (status, "<textarea" in page, re.search("<input[^>]* multiple", page) is not None) == (200, False, True)
    with OddServer() as server:
        for sent in (
            {"slipway:csv": "fare\n1\n"},
            pictures(b""),
            pictures(*[b"x"] * 101),
            pictures(b"x" * ((1 << 20) + 1)),
        ):
            assert post(server.address, sent, "/taxi/table", IMAGE)[0] == 422
        status, page = post(server.address, pictures(*[b"x" * (1 << 20)] * 9), "/taxi/table", IMAGE)
        assert (status, "Choose fewer pictures" in page) == (413, True)
        assert not server.requests


@pytest.mark.parametrize(
    ("data", "path", "form", "fix"),
    [
        (upload(b"x" * (3 << 20)), "/taxi", IMAGE, "3.15 MB. Choose a smaller picture"),
        ({"payment": "x" * 70_000}, "/taxi", FORM, "0.0655 MB at most"),
        ({"slipway:csv": "fare\n" + "1" * 1_000_001}, "/taxi/table", FORM, "1,000,006 bytes"),
        ({"slipway:csv": "fare\n" + "1" * 2_000_001}, "/taxi/table", FORM, "Paste fewer rows"),
    ],
)
@pytest.mark.filterwarnings("ignore:Sending a large body")
def test_post_of_too_much_says_what_to_do(data: Any, path: str, form: Form, fix: str) -> None:
    with OddServer() as server:
        status, page = post(server.address, data, path, form)
    assert (status, fix in page) == (413, True)


@pytest.mark.parametrize(
    ("content", "status"), [(b"", 422), (b"GIF89a no", 422), (b"x" * ((1 << 20) + 1), 422), (b"x" * (3 << 20), 413)]
)
def test_post_of_what_is_no_image_says_so(content: bytes, status: int) -> None:
    with OddServer() as server:
        assert post(server.address, upload(content), form=IMAGE)[0] == status


def test_table_has_answers_beside_the_rows_and_names_bad_ones() -> None:
    with OddServer(outputs=[[0.25, 0.75], [0.5, 0.5]], rank=2) as server:
        status, page = post(server.address, {"slipway:csv": "fare,note\n1,a\nabc,b\n3,c\n"}, "/taxi/table")
        assert len(server.asked("POST", "/v1/models/taxi/versions/7:predict")) == 1
    assert (status, "<h1>2 answers</h1>" in page, "line 3" in page, "not sent: note" in page) == (200, True, True, True)


def test_table_shows_no_more_cells_than_the_header_has() -> None:
    with OddServer() as server:
        _, page = post(server.address, {"slipway:csv": "fare\n1" + ",x" * 9_000 + "\n"}, "/taxi/table")
    assert "has 9001 fields" in page
    assert page.count("<td>") == 1


def test_table_is_downloaded_with_answers() -> None:
    async def look(client: Client) -> tuple[str, str]:
        data = {"slipway:csv": "fare\n1\n2\n", "slipway:download": "1"}
        answer = await client.post("/taxi/table", data=data)
        return answer.headers["Content-Disposition"], await answer.text()

    with OddServer(outputs=[1.5, 2.5]) as server:
        shown = one(server.address)
        disposition, text = visit(shown, look)
    assert "attachment" in disposition
    assert [row["prediction"] for row in csv.DictReader(io.StringIO(text))] == ["1.5", "2.5"]


@pytest.mark.parametrize(
    ("text", "status"), [("", 422), ("a\n1\n", 422), ("fare\nabc\n", 422), ("fare\n" + "1" * 1_000_001, 413)]
)
def test_table_that_cannot_be_asked_for_says_why(text: str, status: int) -> None:
    with OddServer() as server:
        assert post(server.address, {"slipway:csv": text}, "/taxi/table")[0] == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "evil.example"}, 403),
        ({"Host": "evil.example@localhost"}, 403),
        ({"Origin": "http://["}, 403),
        ({"Host": "taxi.example:1234", "Origin": "https://taxi.example:1234"}, 200),
        ({"Host": "[::1]:8602"}, 200),
        ({"Host": "localhost"}, 200),
    ],
)
def test_post_is_taken_from_the_page_alone(headers: dict[str, str], status: int) -> None:
    async def look(client: Client) -> int:
        return (await client.post("/taxi", data={"fare": ""}, headers=headers)).status

    with OddServer() as server:
        shown = one(server.address)
        assert visit(shown, look, ("taxi.example",)) == status


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"x=" + b"y" * 70_000, {"Content-Type": "application/x-www-form-urlencoded"}, 413),
        (b"\xff=\xfe", {"Content-Type": "application/x-www-form-urlencoded; charset=nonsense"}, 400),
        (b"garbage", {"Content-Type": "multipart/form-data; boundary=x"}, 400),
        (b"garbage", {"Content-Type": "multipart/form-data"}, 400),
        (b"{}", {"Content-Type": "application/json"}, 200),
    ],
)
def test_post_of_any_body_has_a_status(body: bytes, headers: dict[str, str], status: int) -> None:
    with OddServer() as server:

        async def look(client: Client) -> int:
            return (await client.post("/taxi", data=body, headers=headers)).status

        shown = one(server.address)
        assert visit(shown, look) == status


def test_unknown_paths_and_methods_have_their_statuses() -> None:
    async def look(client: Client) -> list[int]:
        asked = [
            ("GET", "/nothing"),
            ("GET", "/taxi/x"),
            ("DELETE", "/taxi"),
            ("HEAD", "/taxi"),
            ("GET", "/healthz"),
        ]
        return [(await client.request(method, path)).status for method, path in asked]

    shown = one("127.0.0.1:1")
    assert visit(shown, look) == [404, 404, 405, 200, 200]


def test_a_fault_of_the_page_is_a_page_with_a_number_and_no_trace(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def names(self) -> list[str]:
            raise ZeroDivisionError("secret")

        def open(self, name: str) -> Any:
            raise StoreError("the store is away")

        def close(self) -> None:
            pass

    async def look(client: Client) -> tuple[int, str, int, str]:
        first, second = await client.get("/"), await client.get("/taxi")
        return first.status, await first.text(), second.status, await second.text()

    first, page, second, said = visit(Broken(), look)
    assert (first, "secret" in page, second, "the store is away" in said) == (500, False, 502, True)
    assert re.search("error [0-9a-f]{8}", page)[0] in caplog.text  # type: ignore[index]


def test_a_form_is_shown_while_more_people_than_threads_wait_for_a_slow_server() -> None:
    async def look(client: Client) -> list[int]:
        waiting = [asyncio.create_task(client.post("/taxi", data={"fare": "1"})) for _ in range(6)]
        while len(server.asked("POST", ".*:predict")) < 4:
            await asyncio.sleep(0.02)
        assert (await client.get("/taxi")).status == 200
        assert not any(one.done() for one in waiting)
        return [(await one).status for one in waiting]

    with OddServer(outputs=[1.0, 2.0]) as server, mock.patch("serving.predict_page.app.ASKERS", 4):
        server.hang("POST", ".*:predict", 3, times=6)
        shown = one(server.address, timeout_seconds=60)
        assert visit(shown, look) == [200] * 6


def test_a_hundred_people_at_once_are_all_answered() -> None:
    async def look(client: Client) -> list[int]:
        asked = [client.post("/taxi", data={"fare": "1", "payment": "Card"}) for _ in range(100)]
        return [answer.status for answer in await asyncio.gather(*asked)]

    with OddServer(outputs=[1.0, 2.0, 3.0]) as server:
        shown = one(server.address, timeout_seconds=60)
        assert visit(shown, look) == [200] * 100
