"""Forms of actions over HTTP: who may send them, what they refuse, what they do once."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from console.site import Site
from delivery.environment import open_environment
from slipway.stores.model_store import LocalModelStore
from tests.console.models.shelf import HOSTILE, push_versions
from tests.console.served import served

WHY = "as agreed with Ann"


@dataclass
class Person:
    """A browser of the console, and the store behind it: the first version is stable."""

    client: TestClient[web.Request, web.Application]
    store: LocalModelStore
    versions: list[int]
    said: str = ""
    hidden: dict[str, str] = field(default_factory=dict)

    async def get(self, path: str) -> int:
        async with self.client.get(path) as answer:
            return await self._read(answer)

    async def send(self, path: str, fields: dict[str, str] | None = None, **options: Any) -> int:
        """Posts the hidden fields of the page before, with others."""
        sent = self.hidden | (fields or {})
        async with self.client.post(path, data=sent, **options) as answer:
            return await self._read(answer)

    async def confirmed(self, path: str, why: str = WHY) -> None:
        """Fills in a form, up to the page that asks once more."""
        assert await self.get(path) == 200
        assert await self.send(path, {"why": why}) == 200, self.said

    async def _read(self, answer: aiohttp.ClientResponse) -> int:
        self.said = await answer.text()
        self.hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', self.said)) or self.hidden
        return answer.status

    @property
    def pin(self) -> int | None:
        return self.store.look("taxi")[0].pin

    @property
    def actions(self) -> list[str]:
        return [one.action for one in self.store.history("taxi") if one.action != "push"]


@asynccontextmanager
async def person(home: Path, *, allow_actions: bool = True) -> AsyncIterator[Person]:
    store, versions = push_versions(home, 3)
    store.promote("taxi", versions[0])
    async with served(Site(open_environment(), allow_actions)) as client:
        yield Person(client, store, versions)


def play(home: Path, story: Callable[[Person], Awaitable[None]], *, allow_actions: bool = True) -> None:
    async def told() -> None:
        async with person(home, allow_actions=allow_actions) as someone:
            await story(someone)

    asyncio.run(told())


def test_a_version_is_promoted_after_a_confirmation(home: Path) -> None:
    async def story(one: Person) -> None:
        path = f"/models/taxi/{one.versions[1]}/promote"
        await one.confirmed(path)
        assert one.pin == one.versions[0]
        assert WHY in one.said
        assert await one.send(f"{path}/do") == 200
        assert f"Version {one.versions[1]} of taxi is stable; version {one.versions[0]} is retired" in one.said
        event = one.store.history("taxi")[-1]
        assert (event.action, event.why, event.says.startswith("console of ")) == ("promote", WHY, True)

    play(home, story)


def test_rollback_quarantine_and_release_tell_what_they_did(home: Path) -> None:
    async def story(one: Person) -> None:
        first, second, third = one.versions
        one.store.promote("taxi", second)
        for path, told in (
            ("/models/taxi/rollback", f"taxi is back at version {first}"),
            (f"/models/taxi/{second}/release", f"Version {second} of taxi is released"),
            (f"/models/taxi/{third}/quarantine", f"Version {third} of taxi is quarantined"),
        ):
            await one.confirmed(path)
            assert await one.send(f"{path}/do") == 200
            assert told in one.said
        assert one.actions[2:] == ["rollback", "release", "quarantine"]

    play(home, story)


@pytest.mark.parametrize(("why", "says"), [("", "reason"), ("  ", "reason"), ("x" * 600, "600"), (HOSTILE, "U+0000")])
def test_a_bad_reason_is_asked_for_again(home: Path, why: str, says: str) -> None:
    async def story(one: Person) -> None:
        path = f"/models/taxi/{one.versions[1]}/promote"
        await one.get(path)
        assert await one.send(path, {"why": why}) == 422
        assert says in one.said
        assert "<script>alert" not in one.said
        assert one.actions == ["promote"]

    play(home, story)


def test_a_form_that_is_sent_twice_acts_once(home: Path) -> None:
    async def story(one: Person) -> None:
        path = f"/models/taxi/{one.versions[1]}/promote"
        await one.confirmed(path)
        statuses = await asyncio.gather(*(one.send(f"{path}/do") for _ in range(5)))
        assert statuses == [200] * 5
        assert one.actions == ["promote", "promote"]

    play(home, story)


def test_a_pin_that_moved_meanwhile_is_a_conflict(home: Path) -> None:
    async def story(one: Person) -> None:
        path = f"/models/taxi/{one.versions[1]}/promote"
        await one.get(path)
        one.store.promote("taxi", one.versions[2])
        assert await one.send(path, {"why": WHY}) == 409
        await one.confirmed(path)
        one.store.rollback("taxi")
        assert await one.send(f"{path}/do") == 409
        assert "changed meanwhile" in one.said
        assert str(one.versions[0]) in one.said
        assert one.actions == ["promote", "promote", "rollback"]

    play(home, story)


def test_a_damaged_version_is_told_and_not_promoted(home: Path) -> None:
    async def story(one: Person) -> None:
        path = f"/models/taxi/{one.versions[1]}/promote"
        await one.confirmed(path)
        (home / "models" / "taxi" / str(one.versions[1]) / "fingerprint.pb").write_text("other")
        assert await one.send(f"{path}/do") == 409
        assert "not what was pushed" in one.said
        assert one.pin == one.versions[0]

    play(home, story)


def test_an_action_that_failed_can_be_sent_again(home: Path) -> None:
    """The page has the form with what was typed, of the model as it is now; the form of before stays sent."""

    async def story(one: Person) -> None:
        path = f"/models/taxi/{one.versions[1]}/promote"
        file = home / "models" / "taxi" / str(one.versions[1]) / "fingerprint.pb"
        await one.confirmed(path)
        sent, good = dict(one.hidden), file.read_bytes()
        file.write_text("other")
        assert await one.send(f"{path}/do") == 409
        assert f'name="why" value="{WHY}"' in one.said
        assert f'action="{path}"' in one.said
        file.write_bytes(good)
        assert await one.send(path, {"why": WHY}) == 200, one.said
        assert one.hidden["once"] != sent["once"]
        assert await one.send(f"{path}/do") == 200
        assert one.pin == one.versions[1]

    play(home, story)


def test_a_form_of_a_model_that_changed_is_shown_anew_with_what_was_typed(home: Path) -> None:
    async def story(one: Person) -> None:
        path = f"/models/taxi/{one.versions[1]}/promote"
        await one.get(path)
        one.store.promote("taxi", one.versions[2])
        assert await one.send(path, {"why": WHY}) == 409
        assert f'name="why" value="{WHY}"' in one.said
        assert await one.send(path, {"why": WHY}) == 200
        assert await one.send(f"{path}/do") == 200
        assert one.pin == one.versions[1]

    play(home, story)


def test_forms_without_a_token_or_with_another_ones_are_refused(home: Path) -> None:
    async def story(one: Person) -> None:
        first, second = (f"/models/taxi/{number}/promote" for number in one.versions[1:])
        await one.confirmed(first)
        good = dict(one.hidden)
        one.hidden = {name: value for name, value in good.items() if name != "token"}
        assert await one.send(f"{first}/do") == 403
        one.hidden = good
        assert await one.send(f"{second}/do") == 403
        assert await one.send(f"{first}/do", {"token": "0" * 64}) == 403
        one.client.session.cookie_jar.clear()
        assert await one.send(f"{first}/do") == 403
        assert one.actions == ["promote"]

    play(home, story)


def test_a_token_of_a_console_that_ended_is_refused(home: Path) -> None:
    async def story(one: Person) -> None:
        path = f"/models/taxi/{one.versions[1]}/promote"
        await one.confirmed(path)
        cookies = {cookie.key: cookie.value for cookie in one.client.session.cookie_jar}
        async with (
            served(Site(open_environment(), allow_actions=True)) as other,
            other.post(f"{path}/do", data=one.hidden, cookies=cookies) as answer,
        ):
            assert answer.status == 403
            assert "Load it again" in await answer.text()
        assert one.actions == ["promote"]

    play(home, story)


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}]
)
def test_a_foreign_page_cannot_act(home: Path, headers: dict[str, str]) -> None:
    async def story(one: Person) -> None:
        path = f"/models/taxi/{one.versions[1]}/promote"
        await one.confirmed(path)
        assert await one.send(f"{path}/do", headers=headers) == 403
        assert one.actions == ["promote"]

    play(home, story)


def test_looking_at_an_address_does_nothing(home: Path) -> None:
    async def story(one: Person) -> None:
        path = f"/models/taxi/{one.versions[1]}/promote"
        for query in ("", "?why=x&once=0123456789abcdef"):
            assert await one.get(f"{path}/do{query}") == 405
            assert await one.get(f"{path}{query}") == 200
        assert one.actions == ["promote"]

    play(home, story)


def test_a_console_that_only_shows_gives_the_command_and_refuses_forms(home: Path) -> None:
    async def story(one: Person) -> None:
        path = f"/models/taxi/{one.versions[1]}/promote"
        for where in ("/models/taxi", f"/models/taxi/{one.versions[1]}", path):
            assert await one.get(where) == 200
            assert "<form" not in one.said
        assert f"slipway models promote taxi/{one.versions[1]} --why REASON" in one.said
        for where in (path, f"{path}/do"):
            assert await one.send(where, {"why": WHY}) == 403
        assert one.actions == ["promote"]

    play(home, story, allow_actions=False)


@pytest.mark.parametrize(
    ("path", "status"),
    [("/models/none", 404), ("/models/taxi/7", 404), ("/models/taxi/99999999999999999999", 404),
     ("/models/taxi/jobs/x", 404), ("/models/taxi/jobs/retrain-0123456789abcdef", 404),
     ("/models/taxi/jobs/..%2f..%2fetc", 404), ("/models/..%2f..%2fetc", 404), ("/models/%00", 404),
     ("/models/%3Cscript%3E", 404), ("/models/taxi/rollback", 409), ("/models/taxi?event=99", 200),
     ("/models/taxi?event=0", 200),
     ("/models/taxi?event=%3Cscript%3E", 200)],
)  # fmt: skip
def test_addresses_that_lead_nowhere(home: Path, path: str, status: int) -> None:
    async def story(one: Person) -> None:
        assert await one.get(path) == status, one.said
        assert "<script>" not in one.said

    play(home, story)


def test_a_body_that_is_too_long_is_refused(home: Path) -> None:
    async def story(one: Person) -> None:
        path = f"/models/taxi/{one.versions[1]}/promote"
        await one.get(path)
        assert await one.send(path, {"why": "x" * 100_000}) == 413

    play(home, story)


def test_a_long_action_leads_to_its_own_page_and_is_started_once(home: Path) -> None:
    async def story(one: Person) -> None:
        push_versions(home, 1, model="unknown")  # whose module is not there: its training fails at once
        path = "/models/unknown/retrain"
        await one.get(path)
        assert await one.send(path, {"why": WHY, "data": "/etc/passwd"}) == 422
        await one.confirmed(path)
        assert await asyncio.gather(*(one.send(f"{path}/do") for _ in range(3))) == [200] * 3
        jobs = list((home / "console" / "jobs").glob("retrain-*"))
        assert [one.name for one in jobs] == [jobs[0].name]
        async with asyncio.timeout(120):
            while "http-equiv" in one.said:  # it loads itself again while the job runs
                await asyncio.sleep(0.2)
                assert await one.get(f"/models/unknown/jobs/{jobs[0].name}") == 200
        assert "there is no module" in one.said
        assert WHY in one.said
        assert await one.get("/models/unknown") == 200
        assert f"/models/unknown/jobs/{jobs[0].name}" in one.said
        assert await one.get(f"/models/taxi/jobs/{jobs[0].name}") == 404

    play(home, story)
