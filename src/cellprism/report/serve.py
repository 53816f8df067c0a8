"""The same page from a small local server, for runs whose data are too large for one file."""

from __future__ import annotations

import gzip
import ipaddress
import re
import socket
import threading
import webbrowser
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cellprism.errors import InputError
from cellprism.numeric import numbers_checked
from cellprism.report.bundle import Packing, bundle
from cellprism.report.page import page
from cellprism.report.source import read_source

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["make_app", "serve"]

PATIENCE_S: Final = 15.0
"""Seconds that a new connection has for its first request."""
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

    Examples
    --------
    >>> app = prism.report.make_app("RUN")
    >>> callable(app)
    True
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
        path = _inside(root, request.path_params["name"])
        if path is None:
            return PlainTextResponse("no such file", status_code=404, headers=HEADERS)
        return FileResponse(path, media_type="application/octet-stream", filename=path.name, headers=HEADERS)

    names = [_host_name(name) for name in allowed_hosts]
    return Starlette(
        routes=[Route("/", home), Route("/data/{name}", block), Route("/files/{name:path}", file)],
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=names, www_redirect=False),
            Middleware(_OnlyReading),
        ],
    )


class _OnlyReading:
    """Answers any other method at once and closes, so that nobody has to wait for the end of what is sent along."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        from starlette.responses import PlainTextResponse

        if scope["type"] == "http" and scope["method"] not in ("GET", "HEAD"):
            headers = HEADERS | {"Allow": "GET, HEAD", "Connection": "close"}
            await PlainTextResponse("only GET", status_code=405, headers=headers)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _inside(root: Path, name: str) -> Path | None:
    """The file of a name, if it lies in the folder, all links followed."""
    try:
        path = (root / name).resolve()
        return path if path.is_relative_to(root) and path.is_file() else None
    except (OSError, ValueError, RuntimeError):  # a zero byte, a name too long, a loop of links
        return None


def _host_name(name: str) -> str:
    """A name of the server as it stands in the Host header of a request."""
    with suppress(ValueError):
        address = ipaddress.ip_address(name.strip("[]"))
        return f"[{address}]" if address.version == 6 else str(address)
    if name != "*" and not re.fullmatch(r"(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?", name):
        raise InputError(
            "an allowed host is a name, an address, or * with a dot before a name",
            repr(name),
            "such as cells.example or *.cells.example, without port",
        )
    return name.lower()


@numbers_checked
def serve(
    run_dir: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8765,
    allowed_hosts: Sequence[str] | None = None,
    other: str | Path | None = None,
    open_browser: bool = False,
    say: Callable[[str], None] = lambda _: None,
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
    open_browser
        Show it in the browser of this machine, too; where there is none, that is said.
    say
        Called with the address, once the server listens.

    Raises
    ------
    InputError
        Where `run_dir` is no run folder, the port is none or taken, or `host` is open and nobody was allowed.

    Examples
    --------
    Not run by the tests: it serves until it is stopped.

    >>> prism.report.serve("RUN")  # doctest: +SKIP
    """
    import uvicorn

    if not 0 <= port <= 65535:
        raise InputError("`port` is a number from 0 to 65535", str(port), "choose another, 8765 is usual")
    if not _only_here(host) and not allowed_hosts:
        raise InputError(
            "a server that others can reach is told by which names",
            f"host {host!r} and no allowed host",
            "name them with `allowed_hosts=`, or stay on 127.0.0.1",
        )
    near = _ANY.get(host, host)
    own = (near,) if _only_here(near) else ()
    app = make_app(run_dir, other=other, allowed_hosts=[*LOOPBACK, *own, *(allowed_hosts or ())])
    with _listening(host, port) as listener:
        port = listener.getsockname()[1]
        say(f"{run_dir} at {_address(host, port)} until interrupted")
        if open_browser:
            # Some browsers end only when they are closed; the socket listens already, so none comes too early.
            threading.Thread(target=_show, args=(_address(near, port), say), daemon=True).start()
        config = uvicorn.Config(app, log_level="warning", http=_patient_protocol(), timeout_keep_alive=5)
        uvicorn.Server(config).run(sockets=[listener])


_ANY: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Addresses that stand for all of this machine's, and by which it reaches itself."""


def _address(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def _show(address: str, say: Callable[[str], None]) -> None:
    try:
        shown = webbrowser.open(address)
    except (webbrowser.Error, OSError):
        shown = False
    if not shown:
        say(f"no browser could be opened here: go to {address}")


def _only_here(host: str) -> bool:
    """Whether a host is this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in LOOPBACK


def _listening(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        return socket.create_server(found[0][4][:2], family=found[0][0], backlog=256)
    except (OSError, UnicodeError) as error:
        raise InputError(
            "the server listens on a free port of this machine",
            f"{host}, port {port}: {getattr(error, 'strerror', None) or error}",
            "choose another, as `port=8766` (`port=0` takes any), or stop the other server",
        ) from error


def _patient_protocol() -> type[Any]:
    """HTTP that does not wait for ever: who connects and asks nothing within a while is let go."""
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Patient(H11Protocol):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self.loop.call_later(PATIENCE_S, self._let_go)

        def _let_go(self) -> None:
            if getattr(self, "cycle", None) is None and not self.transport.is_closing():
                self.transport.close()

    return Patient
