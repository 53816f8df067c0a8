"""The same page from a small local server, for runs whose data are too large for one file."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cellprism.errors import InputError
from cellprism.report.bundle import Packing, bundle
from cellprism.report.page import page
from cellprism.report.source import read_source

if TYPE_CHECKING:
    from starlette.applications import Starlette

__all__ = ["make_app", "serve"]

LOOPBACK: Final = ("127.0.0.1", "localhost")
HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "SAMEORIGIN",
    "Cache-Control": "no-cache",
}


def make_app(
    run_dir: str | Path, *, other: str | Path | None = None, allowed_hosts: Sequence[str] = LOOPBACK
) -> Starlette:
    """Make the application that answers for one run folder.

    It answers only GET: ``/`` (the page), ``/data/NAME`` (a block, gzip) and ``/files/NAME`` (a file of the run folder,
    as a download). A request whose Host is not in `allowed_hosts` is refused, so that a page elsewhere cannot reach it
    by a name that it points at this machine; a path that leads outside the folder, by dots or by a link, is not found.

    Parameters
    ----------
    run_dir, other
        As for :func:`cellprism.report.build`.
    allowed_hosts
        Names under which the server may be addressed.
    """
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.requests import Request
    from starlette.responses import FileResponse, PlainTextResponse, Response
    from starlette.routing import Route

    root = Path(run_dir).resolve()
    made = bundle(
        read_source(root), other=None if other is None else read_source(other), packing=Packing(max_bytes=400_000_000)
    )
    html = gzip.compress(page(made, served_from="data/").encode(), 6, mtime=0)

    def packed(request: Request, content: bytes, media_type: str) -> Response:
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers = HEADERS | {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
            return Response(content, media_type=media_type, headers=headers)
        return Response(gzip.decompress(content), media_type=media_type, headers=HEADERS)

    def home(request: Request) -> Response:
        return packed(request, html, "text/html")

    def block(request: Request) -> Response:
        found = made.blocks.get(request.path_params["name"])
        if found is None:
            return PlainTextResponse("no such block", status_code=404, headers=HEADERS)
        return packed(request, found, "application/octet-stream")

    def file(request: Request) -> Response:
        path = (root / request.path_params["name"]).resolve()
        if not path.is_relative_to(root) or not path.is_file():
            return PlainTextResponse("no such file", status_code=404, headers=HEADERS)
        return FileResponse(path, media_type="application/octet-stream", filename=path.name, headers=HEADERS)

    return Starlette(
        routes=[Route("/", home), Route("/data/{name}", block), Route("/files/{name:path}", file)],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(allowed_hosts), www_redirect=False)],
    )


def serve(
    run_dir: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8765,
    allowed_hosts: Sequence[str] | None = None,
    other: str | Path | None = None,
) -> None:
    """Serve the explorer of a run until interrupted.

    Parameters
    ----------
    run_dir, other
        As for :func:`cellprism.report.build`.
    host, port
        Where to listen; by default only this machine can reach it.
    allowed_hosts
        Names by which others may address the server; needed when `host` is not this machine alone.

    Raises
    ------
    InputError
        Where `run_dir` is no run folder, the port is none, or `host` is open and nobody was allowed.
    """
    import uvicorn

    if not 0 <= port <= 65535:
        raise InputError("a port is a number from 0 to 65535", str(port), "choose another, 8765 is usual")
    if host not in LOOPBACK and not allowed_hosts:
        raise InputError(
            "a server that others can reach is told by which names",
            f"host {host!r} and no allowed host",
            "name them with `allowed_hosts=`, or stay on 127.0.0.1",
        )
    app = make_app(run_dir, other=other, allowed_hosts=[*LOOPBACK, *(allowed_hosts or ())])
    uvicorn.run(app, host=host, port=port, log_level="warning")
