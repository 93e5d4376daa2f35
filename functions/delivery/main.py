"""The entry point for functions-framework: `--source functions/delivery/main.py --target main`."""

import functions_framework.aio
from starlette.requests import Request
from starlette.responses import Response

from services.runtime.cloud import Function

_function = Function("delivery")


@functions_framework.aio.http
async def main(request: Request) -> Response:
    """One push of Pub/Sub."""
    return await _function(request)
