"""OpenAI's own client, imported once a test asks for it: that takes a second, and every worker collects all.

Its names are found here too, such as `official.BadRequestError`.
"""

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    if name.startswith("_"):  # what a collecting pytest looks for in everything
        raise AttributeError(name)
    return getattr(import_module("openai"), name)


def client(url: str, key: str, **more: Any) -> Any:
    """An `AsyncOpenAI` of a server, which tries nothing again unless it is told to.

    Its connections are never encrypted: what that takes costs more than most tests.
    """
    openai = import_module("openai")
    plain = openai.DefaultAsyncHttpxClient(verify=False)
    options = {"base_url": f"{url}/v1", "api_key": key, "max_retries": 0, "http_client": plain}
    return openai.AsyncOpenAI(**(options | more))


def blocking_client(url: str, key: str) -> Any:
    """The same as an `OpenAI`."""
    openai = import_module("openai")
    plain = openai.DefaultHttpxClient(verify=False)
    return openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, http_client=plain)
