"""The OpenAPI document names what there is, no more and no less, and its page needs nothing else."""

import json
import re
from html import unescape
from typing import Any

import pytest
from starlette.routing import Route

from events.requests import RESPONSES
from functions.request.endpoints import ENDPOINTS
from services.router.api import PublicApi
from services.router.health import Health
from services.router.openapi import OPERATIONS, document
from services.router.reference import page
from services.router.responses.api import ResponsesApi
from tests.support import client
from tests.support.platform import Running

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def platform(shared_platform: Running) -> Running:
    return shared_platform


def served() -> set[tuple[str, str]]:
    unneeded: Any = None
    routes = [
        *PublicApi(unneeded, unneeded, unneeded, started_at=0, routes=unneeded or object()).routes(),
        *ResponsesApi(unneeded, unneeded, unneeded).routes(),
        *Health({}).routes(),
    ]
    plain = {
        (method.lower(), route.path)
        for route in routes
        if isinstance(route, Route)
        for method in route.methods or ()
        if method != "HEAD"
    }
    return plain | {("post", path) for path in (*ENDPOINTS, RESPONSES)}


def test_every_endpoint_is_described_and_nothing_else() -> None:
    assert served() == {(operation.method, operation.path) for operation in OPERATIONS}


def test_every_reference_leads_somewhere() -> None:
    told = document()
    references = re.findall(r'"#/components/schemas/(\w+)"', json.dumps(told))

    assert set(references) == told["components"]["schemas"].keys()


def test_what_is_required_is_what_admission_requires() -> None:
    schemas = document()["components"]["schemas"]

    assert ["model", "messages"] == schemas["ChatBody"]["required"]
    assert ["model", "prompt"] == schemas["CompletionBody"]["required"]
    assert ["model", "input"] == schemas["EmbeddingBody"]["required"]


async def test_the_document_is_served_without_a_key(platform: Running) -> None:
    answer = await client.ask(platform.port, "GET", "/openapi.json")

    assert (200, document()) == (answer.status, answer.json)


async def test_the_page_needs_nothing_from_elsewhere(platform: Running) -> None:
    answer = await client.ask(platform.port, "GET", "/docs")
    text = unescape(answer.body.decode())

    assert 200 == answer.status
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert all(operation.summary.partition("`")[0] in text for operation in OPERATIONS)
    assert not re.search(r"<script|src=|https?://|url\(", text)


def test_what_a_document_says_is_no_markup() -> None:
    told = document()
    told["info"]["description"] = "<script>`<b>`"

    assert "&lt;script&gt;<code>&lt;b&gt;</code>" in page(told)
