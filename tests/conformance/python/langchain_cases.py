"""LangChain's standard tests through its OpenAI classes: chats, responses, embeddings.

Run in the judges' environment by `tests/conformance/test_langchain.py`.
"""

import os
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from langchain_tests.integration_tests import ChatModelIntegrationTests, EmbeddingsIntegrationTests

JUDGES_INTELLIGENCE = pytest.mark.xfail(strict=True, reason="the words of the rehearsal engine are made up")


@pytest.fixture(autouse=True)
def picture(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The picture that tests would download: what it shows is nothing to the rehearsal engine."""
    monkeypatch.setattr(httpx, "get", lambda url, **options: SimpleNamespace(content=b"picture"))
    yield


class TestChats(ChatModelIntegrationTests):
    """By `/v1/chat/completions`."""

    chat_model_class = ChatOpenAI
    chat_model_params = {"model": os.environ["MODEL"], "stream_usage": True}
    supports_model_override = True
    model_override_value = os.environ["OTHER_MODEL"]
    supports_json_mode = True
    supports_image_inputs = True
    supports_image_urls = True
    supports_image_tool_message = True
    supports_anthropic_inputs = True

    @JUDGES_INTELLIGENCE
    def test_tool_calling(self, model: BaseChatModel) -> None:
        super().test_tool_calling(model)

    @JUDGES_INTELLIGENCE
    async def test_tool_calling_async(self, model: BaseChatModel) -> None:
        await super().test_tool_calling_async(model)

    @JUDGES_INTELLIGENCE
    def test_json_mode(self, model: BaseChatModel) -> None:
        super().test_json_mode(model)

    @JUDGES_INTELLIGENCE
    def test_agent_loop(self, model: BaseChatModel) -> None:
        super().test_agent_loop(model)

    @JUDGES_INTELLIGENCE
    def test_unicode_tool_call_integration(self, model: BaseChatModel, **options: Any) -> None:
        super().test_unicode_tool_call_integration(model, **options)


class TestResponses(TestChats):
    """By `/v1/responses`."""

    chat_model_params = {**TestChats.chat_model_params, "use_responses_api": True}


class TestEmbeddings(EmbeddingsIntegrationTests):
    """By `/v1/embeddings`, without counting tokens ahead: that would download a tokenizer."""

    embeddings_class = OpenAIEmbeddings
    embedding_model_params = {"model": os.environ["MODEL"], "check_embedding_ctx_length": False}
