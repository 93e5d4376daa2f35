"""`/openapi.json`, and `/docs`: the same as a page to read, without scripts or anything from elsewhere."""

import json
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from services.router.api import raw
from services.wire.ids import request_id

FILE = Path(__file__).with_name("openapi.json")
POLICY = "default-src 'none'; style-src 'unsafe-inline'"
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 48rem; margin: 2rem auto; padding: 0 1rem; }
code { background: #8882; padding: 0 .2em; } h2 { margin-top: 2.5rem; font-size: 1.1rem; }
td { padding: .1rem 1rem .1rem 0; vertical-align: top; } :root { color-scheme: light dark; }
"""


@cache
def exported() -> bytes:
    """The document as it was made by `python -m services.cli.export`."""
    return FILE.read_bytes()


def routes() -> list[BaseRoute]:
    """Where both are; they need no key."""
    return [Route("/openapi.json", _document), Route("/docs", _page)]


async def _document(request: Request) -> Response:
    return raw(exported())


async def _page(request: Request) -> Response:
    headers = {"content-security-policy": POLICY, "x-request-id": request_id()}
    return HTMLResponse(page(json.loads(exported())), headers=headers)


def page(document: dict[str, Any]) -> str:
    """The document as HTML."""
    info = document["info"]
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(info['title'])}</title>",
        f"<style>{STYLE}</style><h1>{escape(info['title'])}</h1><p>{_marked(info['description'])}",
        '<p>An OpenAPI document of this is at <a href="/openapi.json">/openapi.json</a>.',
    ]
    for path, operations in document["paths"].items():
        parts += [_section(path, method, told, document) for method, told in operations.items()]
    return "\n".join(parts) + "\n"


def _section(path: str, method: str, told: dict[str, Any], document: dict[str, Any]) -> str:
    key = "" if told.get("security") != [] else " (no key needed)"
    lines = [
        f"<h2><code>{method.upper()} {escape(path)}</code></h2><p>{_marked(told['summary'])}{key}",
        f"<p>{_marked(told['description'])}" if "description" in told else "",
        _table((one["name"], one["in"], one.get("description", "")) for one in told.get("parameters", ())),
    ]
    schema = told.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    for reference in schema.get("anyOf", [schema] if schema else []):
        name = reference["$ref"].rpartition("/")[2]
        lines.append(_fields(name, document["components"]["schemas"][name]))
    status, answer = next(iter(told["responses"].items()))
    return "\n".join([*filter(None, lines), f"<p>{status}: {_marked(answer['description'])}"])


def _fields(name: str, schema: dict[str, Any]) -> str:
    required = schema.get("required", ())
    rows = ((field, "required" if field in required else "", "") for field in schema["properties"])
    return f"<p>{escape(name)}: {_marked(schema.get('description', ''))}{_table(rows)}"


def _table(rows: Any) -> str:
    cells = [
        f"<tr><td><code>{escape(name)}</code><td>{escape(kind)}<td>{_marked(more)}"
        for name, kind, more in rows
    ]
    return f"<table>{''.join(cells)}</table>" if cells else ""


def _marked(text: str) -> str:
    """Text as HTML; what is between backquotes is code."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if at % 2 else part for at, part in enumerate(parts))
