"""Forms that change something, each with a token that only a page of this console for this browser can hold."""

from __future__ import annotations

import hmac
import secrets
from urllib.parse import unquote

from aiohttp import web
from markupsafe import Markup

from console.site import site_of
from serving.protocol.sites import read_posted

BODY_BYTES = 64 * 1024
COOKIE, TOKEN = "slipway_form", "token"
_MARK = web.RequestKey("form_mark", str)


def post_form(request: web.Request, action: str, *parts: Markup) -> Markup:
    """A form that posts to `action`, a path of the console, with its token."""
    token = Markup('<input type="hidden" name="{}" value="{}">').format(TOKEN, _token(request, unquote(action)))
    return Markup('<form class="action" method="post" action="{}">{}{}</form>').format(
        action, token, Markup("").join(parts)
    )


async def read_form(request: web.Request) -> dict[str, str]:
    """The fields of a posted form of this console, without its token.

    Raises:
        web.HTTPForbidden: the token is missing, or of another browser, process or form.
        web.HTTPException: as `read_posted`.
    """
    posted = await read_posted(request, BODY_BYTES)
    fields = {name: value for name, value in posted.items() if isinstance(value, str)}
    if COOKIE not in request.cookies or not hmac.compare_digest(
        fields.pop(TOKEN, "").encode(), _token(request, request.path).encode()
    ):
        raise web.HTTPForbidden(
            text="This form is not of this browser, or the console was started anew since. Load it again."
        )
    return fields


def keep_mark(request: web.Request, response: web.StreamResponse) -> None:
    """Gives the browser its mark, if a page with a form was made for it."""
    mark = request.get(_MARK)
    if mark is not None and COOKIE not in request.cookies:
        response.set_cookie(COOKIE, mark, path="/", httponly=True, samesite="Strict", secure=request.secure)


def _token(request: web.Request, path: str) -> str:
    """The signature of a browser's mark and a form's path, which is not quoted."""
    mark = request.cookies.get(COOKIE) or request.get(_MARK) or secrets.token_urlsafe(24)
    request[_MARK] = mark
    return hmac.new(site_of(request).key, f"{mark} {path}".encode(), "sha256").hexdigest()
