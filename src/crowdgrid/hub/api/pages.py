"""What a browser shows at the hub's address: two plain pages that say what to type. No script, no form, no secret.

An invitation link is `…/join#CODE`. The part after # never leaves the browser, so the page cannot repeat
the code; it says where to find it. The browser node and the director come later.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

_HEADERS: Final[Mapping[str, str]] = {
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "cache-control": "no-store",
}
_PAGE: Final = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<main>
<h1>{title}</h1>
{body}
</main>
</html>
"""


def _page(title: str, body: str) -> Response:
    return HTMLResponse(_PAGE.format(title=title, body=body), headers=dict(_HEADERS))


async def _join(request: Request) -> Response:
    address = escape(f"{request.url.scheme}://{request.url.netloc}")
    return _page(
        "Lend this machine to a crowdgrid",
        f"<p>On the machine you want to lend, install crowdgrid and run:</p>\n<pre>crowdgrid join {address} CODE</pre>\n"
        "<p>CODE is the part after # in the address of this page. Nothing runs before you do that, and"
        " <code>crowdgrid agent pause</code>, <code>limits</code> and <code>leave</code> are yours at any time.</p>",
    )


async def _home(request: Request) -> Response:
    address = escape(f"{request.url.scheme}://{request.url.netloc}")
    return _page(
        "A crowdgrid hub",
        f"<p>Sign in from a terminal:</p>\n<pre>crowdgrid login {address}</pre>\n"
        '<p>Its interface is described in <a href="/v1/openapi.json">/v1/openapi.json</a>;'
        ' <a href="/readyz">/readyz</a> says whether it works.</p>',
    )


PAGES: Final = (Route("/", _home, methods=["GET"]), Route("/join", _join, methods=["GET"]))
