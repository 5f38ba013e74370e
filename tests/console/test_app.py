"""What protects the console: who may ask it, what it answers to anything else, and what an error tells."""

from __future__ import annotations

import asyncio
import logging
import re
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from markupsafe import Markup
from yarl import URL

from console.app import POLICY, make_app
from console.forms import BODY_BYTES, COOKIE, post_form, read_form
from console.layout import respond
from console.site import Site
from slipway.errors import StoreError
from tests.console.served import get, served
from tests.recorded_runs import write_run


@pytest.mark.parametrize(
    "path", ["/runs", "/models", "/data", "/nix", "/static/console.css", "/static/page.css", "/static/nix"]
)
def test_every_answer_has_the_policy_and_no_cookie(site: Site, path: str) -> None:
    answer = get(site, path)
    assert answer.headers["Content-Security-Policy"] == POLICY
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert answer.headers["Cache-Control"] == ("no-cache" if path.startswith("/static/") else "no-store")
    assert "Set-Cookie" not in answer.headers
    assert answer.headers["Server"] == "slipway"


def test_the_policy_lets_nothing_inline_pass() -> None:
    assert POLICY.startswith("default-src 'none'; style-src 'self'; script-src 'self';")
    assert "unsafe" not in POLICY
    assert "frame-ancestors 'none'" in POLICY


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:8600",
        "localhost",
        "localhost:1",
        "[::1]:8600",
        "10.1.2.3",
        "console.example:80",
        "CONSOLE.example",
    ],
)
def test_addresses_and_given_names_are_answered(site: Site, host: str) -> None:
    assert get(replace(site, hosts=("console.example",)), "/runs", Host=host).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil.example:8600",
        "[",
        "a@localhost",
        "<script>",
        "0x7f.1",
    ],
)
def test_a_foreign_name_that_leads_here_is_refused(home: Path, site: Site, host: str) -> None:
    write_run(home, "taxi-1", "pushed")
    answer = get(site, "/runs", Host=host)
    assert answer.status in (400, 403)
    assert "taxi-1" not in answer.text
    assert "<script>" not in answer.text


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "POST", "OPTIONS", "TRACE", "PROPFIND"])
def test_other_methods_are_refused(site: Site, method: str) -> None:
    async def ask() -> None:
        async with served(site) as client, client.request(method, "/runs") as answer:
            assert answer.status == 405
            assert "GET" in answer.headers["Allow"]
            assert answer.headers["Content-Security-Policy"] == POLICY

    asyncio.run(ask())


def test_head_is_answered_without_a_body(home: Path, site: Site) -> None:
    write_run(home, "taxi-1", "pushed")

    async def ask() -> None:
        async with served(site) as client:
            for path in ("/runs", "/runs/taxi-1", "/static/page.css"):
                async with client.head(path) as answer:
                    assert (answer.status, await answer.read()) == (200, b"")
                    assert int(answer.headers["Content-Length"]) > 100

    asyncio.run(ask())


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/static//etc/passwd",
        "/static/",
        "/static/%00",
    ],
)
def test_only_static_files_are_static(site: Site, path: str) -> None:
    answer = get(site, path)
    assert answer.status in (400, 403, 404)
    assert "make_app" not in answer.text


def with_form(site: Site) -> TestClient[web.Request, web.Application]:
    """A console with a form at /form, which says what was sent; /fault, /outage and /busy fail."""

    async def show(request: web.Request) -> web.Response:
        return respond(request, "Form", post_form(request, "/form", Markup('<input name="why">')))

    async def take(request: web.Request) -> web.Response:
        return web.json_response(await read_form(request))

    async def fail(request: web.Request) -> web.Response:
        raise RuntimeError("the secret of /home/someone")

    async def miss(request: web.Request) -> web.Response:
        raise StoreError("gs://bucket/<b>: cannot read; try again")

    async def defer(request: web.Request) -> web.Response:
        raise web.HTTPServiceUnavailable(headers={"Retry-After": "2"})

    app = make_app(site)
    app.add_routes(
        [
            web.get("/busy", defer),
            web.get("/form", show),
            web.post("/form", take),
            web.post("/other", take),
            web.get("/fault", fail),
            web.get("/outage", miss),
        ]
    )
    return TestClient(TestServer(app))


async def token_of(client: TestClient[web.Request, web.Application]) -> str:
    async with client.get("/form") as answer:
        cookie = answer.headers["Set-Cookie"]
        for part in (COOKIE, "HttpOnly", "SameSite=Strict", "Path=/"):
            assert part in cookie
        tokens: list[str] = re.findall('name="token" value="([0-9a-f]{64})"', await answer.text())
    [token] = tokens
    return token


def test_a_form_of_this_page_is_taken(site: Site) -> None:
    async def send() -> None:
        async with with_form(site) as client:
            token = await token_of(client)
            async with client.post("/form", data={"token": token, "why": "drift <b>"}) as answer:
                assert (answer.status, await answer.json()) == (200, {"why": "drift <b>"})
            async with client.get("/form") as answer:  # the browser keeps its mark, and older tabs their tokens
                assert "Set-Cookie" not in answer.headers
                assert token in await answer.text()

    asyncio.run(send())


@pytest.mark.parametrize(
    ("headers", "changed", "path"),
    [
        ({}, {"token": ""}, "/form"),
        ({}, {"token": "0" * 64}, "/form"),
        ({}, {"token": "é"}, "/form"),
        ({}, {}, "/other"),  # a token of another form
        ({"Cookie": f"{COOKIE}=other"}, {}, "/form"),
        ({"Cookie": ""}, {}, "/form"),
        ({"Origin": "http://evil.example"}, {}, "/form"),
        ({"Origin": "null"}, {}, "/form"),
        ({"Origin": "http://127.0.0.1:1"}, {}, "/form"),
        ({"Sec-Fetch-Site": "cross-site"}, {}, "/form"),
        ({"Sec-Fetch-Site": "same-site"}, {}, "/form"),
    ],
)  # fmt: skip
def test_a_form_of_another_page_is_refused(
    site: Site, headers: dict[str, str], changed: dict[str, str], path: str
) -> None:
    async def send() -> None:
        async with with_form(site) as client:
            token = await token_of(client)
            if "Cookie" in headers:
                client.session.cookie_jar.clear()
            async with client.post(path, data={"token": token, **changed}, headers=headers) as answer:
                assert answer.status == 403

    asyncio.run(send())


def test_a_form_of_an_earlier_process_is_refused(site: Site) -> None:
    async def send() -> None:
        async with with_form(site) as client:
            token = await token_of(client)
            [mark] = [cookie.value for cookie in client.session.cookie_jar]
        async with with_form(replace(site, key=b"another")) as client:
            headers = {"Cookie": f"{COOKIE}={mark}"}
            async with client.post("/form", data={"token": token}, headers=headers) as answer:
                assert answer.status == 403
                assert "Load it again" in await answer.text()

    asyncio.run(send())


def test_a_form_may_have_a_quoted_path(site: Site) -> None:
    async def show(request: web.Request) -> web.Response:
        return respond(request, "Form", post_form(request, "/of/a%20%3Cb%3E%25%2F", Markup("")))

    async def take(request: web.Request) -> web.Response:
        return web.json_response(await read_form(request))

    async def send() -> None:
        app = make_app(site)
        app.add_routes([web.get("/form", show), web.post("/of/{name:[^/]+}", take)])
        async with TestClient(TestServer(app)) as client:
            url = URL(f"{client.make_url('/')}of/a%20%3Cb%3E%25%2F", encoded=True)
            async with client.session.post(url, data={"token": await token_of(client)}) as answer:
                assert answer.status == 200

    asyncio.run(send())


@pytest.mark.parametrize("chunked", [False, True])
def test_a_long_form_is_refused(site: Site, chunked: bool) -> None:
    async def send() -> None:
        body = b"why=" + b"x" * (BODY_BYTES + 1)
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        async with with_form(site) as client:
            data = _pieces(body) if chunked else body
            async with client.post("/form", data=data, headers=headers) as answer:
                assert answer.status == 413

    asyncio.run(send())


@pytest.mark.parametrize(
    ("kind", "body"),
    [("multipart/form-data", b"x"), ("multipart/form-data; boundary=x", b"garbage"),
     ("application/x-www-form-urlencoded; charset=nonsense", b"why=x")],
)  # fmt: skip
def test_a_body_that_is_no_form_is_refused(site: Site, kind: str, body: bytes) -> None:
    async def send() -> None:
        async with (
            with_form(site) as client,
            client.post("/form", data=body, headers={"Content-Type": kind}) as answer,
        ):
            assert answer.status == 400

    asyncio.run(send())


async def _pieces(body: bytes):  # type: ignore[no-untyped-def]
    for start in range(0, len(body), 1000):
        yield body[start : start + 1000]


def test_a_fault_is_a_page_with_a_number_that_the_log_names(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    async def ask() -> str:
        async with with_form(site) as client, client.get("/fault") as answer:
            assert answer.status == 500
            text: str = await answer.text()
            return text

    with caplog.at_level(logging.ERROR):
        text = asyncio.run(ask())
    [number] = re.findall(r"error ([0-9a-f]{8})", text)
    assert number in caplog.text
    assert "the secret" in caplog.text
    assert "the secret" not in text
    assert "Traceback" not in text


def test_an_error_for_people_is_shown_to_them(site: Site) -> None:
    async def ask() -> None:
        async with with_form(site) as client, client.get("/outage") as answer:
            assert answer.status == 502
            assert "gs://bucket/&lt;b&gt;: cannot read; try again" in await answer.text()

    asyncio.run(ask())


def test_a_page_that_is_busy_says_when_to_come_again(site: Site) -> None:
    async def ask() -> None:
        async with with_form(site) as client, client.get("/busy") as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "2")

    asyncio.run(ask())


def test_a_store_that_keeps_silent_does_not_keep_the_page(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    async def wait(_: web.Request) -> web.Response:
        await asyncio.sleep(30)
        raise AssertionError

    async def ask() -> None:
        app = make_app(site)
        app.add_routes([web.get("/slow", wait)])
        async with TestClient(TestServer(app)) as client, client.get("/slow") as answer:
            assert answer.status == 504

    monkeypatch.setattr("console.app.READ_SECONDS", 0.05)
    asyncio.run(ask())


def test_a_hundred_people_at_once_are_answered(home: Path, site: Site) -> None:
    for number in range(3):
        write_run(home, f"taxi-{number}", "pushed")

    async def ask() -> None:
        async with served(site) as client:

            async def one(path: str) -> int:
                async with client.get(path) as answer:
                    await answer.text()
                    return answer.status

            paths = ["/runs", "/runs/taxi-1", "/runs/taxi-2/files", "/runs/compare?run=taxi-1&run=taxi-2"] * 25
            assert set(await asyncio.gather(*map(one, paths))) == {200}

    asyncio.run(ask())
