"""What an engine is asked for a queued request: its body as it is, or the chat that answers a response."""

import msgspec

from events.config import Config
from events.requests import CHAT, RESPONSES, RequestDocument
from events.words import Invalid, Refusal
from functions.request.admission import Admitted
from functions.request.endpoints import ENDPOINTS
from services.responses.names import response_id
from services.responses.told import Response
from services.responses.translation import AS_CHATS, admit_as_chat, translate


class Prepared(msgspec.Struct, frozen=True):
    """`path` and `body`: what the engine is called with. `response`: what its answer is to be told as, where
    that is not the engine's own.
    """

    path: str
    body: bytes
    admitted: Admitted
    response: Response | None = None

    def blame(self, refusal: Refusal) -> Refusal:
        """A refusal that blames the prompt, under the name its caller gave it."""
        endpoint = ENDPOINTS[self.path] if self.response is None else AS_CHATS
        return endpoint.blame(refusal)


def prepare(document: RequestDocument, body: bytes, config: Config) -> Prepared | Refusal:
    """Raises `Invalid` where this release does not know the endpoint; a newer one took the request."""
    if document.url == RESPONSES:
        return _response(document, body, config)
    endpoint = ENDPOINTS.get(document.url)
    if endpoint is None:
        raise Invalid(f"{document.url} cannot be run here.")
    admitted = endpoint.admit(body, config)
    if isinstance(admitted, Refusal):
        return admitted
    return Prepared(path=document.url, body=body, admitted=admitted)


def _response(document: RequestDocument, body: bytes, config: Config) -> Prepared | Refusal:
    name, created_at = response_id(document.id), int(document.created_at.timestamp())
    asked = translate(body, id=name, created_at=created_at)
    if isinstance(asked, Refusal):
        return asked
    admitted = admit_as_chat(asked, config)
    if isinstance(admitted, Refusal):
        return admitted
    return Prepared(path=CHAT, body=asked.body, admitted=admitted, response=asked.response)
