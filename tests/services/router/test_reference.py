"""The OpenAPI document names what there is, no more and no less, and its page needs nothing else."""

import json
import re
from html import unescape
from typing import Any

import pytest
from starlette.routing import Route

from events.requests import RESPONSES
from functions.request.admission import ChatMessage
from functions.request.endpoints import ENDPOINTS
from services.router.api import PublicApi
from services.router.health import Health
from services.router.openapi import OPERATIONS, document
from services.router.reference import page
from services.router.refined import FIELDS, PARAMETERS, QUEUED
from services.router.responses.api import ResponsesApi
from tests.support import client
from tests.support.platform import Running

pytestmark = pytest.mark.anyio
BODIES: set[Any] = {body for row in OPERATIONS for body in row.bodies}


@pytest.fixture(scope="module")
def platform(shared_platform: Running) -> Running:
    return shared_platform


def served() -> set[tuple[str, str]]:
    unneeded: Any = None
    routes = [
        *PublicApi(
            unneeded, unneeded, unneeded, unneeded, started_at=0, routes=unneeded or object()
        ).routes(),
        *ResponsesApi(unneeded, unneeded, unneeded, unneeded).routes(),
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


def test_what_is_said_beyond_the_structs_is_said_of_their_fields() -> None:
    structs = {struct.__name__: struct for struct in (*BODIES, ChatMessage, *QUEUED)}

    assert {} == {
        name: missing
        for name, fields in FIELDS.items()
        if (missing := fields.keys() - {*structs[name].__struct_fields__})
    }
    assert {name for row in OPERATIONS for name in (*row.query, *row.headers)} >= PARAMETERS.keys()


def test_every_operation_says_what_it_answers_with() -> None:
    assert [] == [row.path for row in OPERATIONS if row.gives is None]


def test_every_link_leads_to_an_operation_of_its_own_name() -> None:
    told = [one for operations in document()["paths"].values() for one in operations.values()]
    names = [one["operationId"] for one in told]
    links = {link for one in told for answer in one["responses"].values() for link in answer.get("links", {})}

    assert len({*names}) == len(names)
    assert {"get_models_name", "get_requests_name", "post_requests_name_cancel"} <= links <= {*names}


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
