"""A bare aiohttp handler on uvloop that redirects and keeps nothing: what a tracking host could at
most be.

    python -m bench.bare_http PORT
"""

from __future__ import annotations

import sys

import uvloop
from aiohttp import web


async def _redirect(_request: web.Request) -> web.Response:
    return web.Response(status=302, headers={"Location": "https://shop.test/"})


def main() -> None:
    """Serve until killed."""
    app = web.Application()
    app.router.add_get("/{kind}/{token}", _redirect)
    uvloop.install()
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)


if __name__ == "__main__":
    main()
