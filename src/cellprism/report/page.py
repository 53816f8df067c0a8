"""One HTML file from blocks: script, style and data inside, and a policy that lets nothing else in."""

from __future__ import annotations

import base64
import hashlib
import html
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from typing import Final

from cellprism.report.bundle import Bundle
from cellprism.report.modules import link

__all__ = ["bare_page", "page"]

ENTRY: Final = "app.js"


def page(bundle: Bundle, *, served_from: str | None = None) -> str:
    """Make the page.

    Parameters
    ----------
    bundle
        The run.
    served_from
        Where the page fetches its blocks, relative to itself; ``None`` writes them into the page, which then makes no
        request at all.
    """
    style, library, script = _asset("static/page.css"), _asset("vendor/d3.min.js"), _script()
    blocks = "" if served_from else "\n".join(_block(name, data) for name, data in bundle.blocks.items())
    filled = {
        "root": _root(bundle, served_from),
        "policy": _policy([library, script], style, connect=served_from is not None),
        "version": html.escape(_version()),
        "title": html.escape(bundle.title),
        "summary": html.escape(bundle.summary),
        "style": style,
        "blocks": blocks,
        "library": library,
        "script": script,
    }
    parts = _asset("static/page.html").split("{{")
    # Filled in one pass, so that braces inside a name or the script are never read as a place to fill.
    return parts[0] + "".join(filled[key] + rest for key, rest in (part.split("}}", 1) for part in parts[1:]))


def bare_page(title: str, summary: str, told: str) -> str:
    """A page without a script, that says what it would have shown and how to see it."""
    style = _asset("static/page.css")
    body = f'<main><p class="summary">{html.escape(summary)}</p><ul class="cautions"><li>{html.escape(told)}</li></ul></main>'
    return (
        '<!doctype html>\n<html lang="en" data-theme="light"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_policy([], style, connect=False)}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{style}</style></head><body>{body}</body></html>\n"
    )


def _root(bundle: Bundle, served_from: str | None) -> str:
    root = f' data-blocks="{html.escape(served_from)}"' if served_from else ""
    return root + (" data-other" if "match" in bundle.blocks else "")


def _block(name: str, data: bytes) -> str:
    return f'<script type="application/octet-stream" id="block-{name}">{base64.b64encode(data).decode()}</script>'


def _policy(scripts: list[str], style: str, *, connect: bool) -> str:
    """Only these very scripts and this style may run: no inline handler, no evaluation, no address."""
    source = {
        "default-src": "'none'",
        "script-src": " ".join(map(_hash, scripts)) or "'none'",
        "style-src": _hash(style),
        "img-src": "data: blob:",
        "connect-src": "'self'" if connect else "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{k} {v}" for k, v in source.items())


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def _asset(name: str) -> str:
    return files("cellprism.report").joinpath(name).read_text(encoding="utf-8")


@cache
def _script() -> str:
    folder = files("cellprism.report").joinpath("static")
    modules = {f.name: f.read_text(encoding="utf-8") for f in folder.iterdir() if f.name.endswith(".js")}
    script = link(modules, ENTRY)
    if "</script" in script or "<!--" in script:
        raise ValueError("the page's script holds text that would end it")
    return script


def _version() -> str:
    try:
        return version("cellprism")
    except PackageNotFoundError:  # a source tree that was never installed
        return "(not installed)"
