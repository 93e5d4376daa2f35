"""The endpoints of engines that a request may be run at, and how the body of each is admitted."""

from collections.abc import Callable

from msgspec.structs import replace

from events.config import Config
from events.requests import CHAT
from events.words import Record, Refusal
from functions.request.admission import Admitted, admit
from functions.request.prompts import admit_completion, admit_embedding

COMPLETIONS = "/v1/completions"
EMBEDDINGS = "/v1/embeddings"

Admit = Callable[[bytes, Config], Admitted | Refusal]


class Endpoint(Record):
    """One endpoint. `prompt`: the field its prompt is in. `cached`: whether an answer may be given again.
    `queued`: whether what is asked may be queued as it is.
    """

    path: str
    admit: Admit
    prompt: str
    cached: bool = False
    queued: bool = True

    def blame(self, refusal: Refusal) -> Refusal:
        """A refusal that blames the prompt, under the prompt's name here."""
        problem = refusal.problem
        if problem.param != "messages" or self.prompt == "messages":
            return refusal
        return replace(refusal, problem=replace(problem, param=self.prompt))


CHATS = Endpoint(path=CHAT, admit=admit, prompt="messages", cached=True)
ENDPOINTS = {
    endpoint.path: endpoint
    for endpoint in (
        CHATS,
        Endpoint(path=COMPLETIONS, admit=admit_completion, prompt="prompt"),
        Endpoint(path=EMBEDDINGS, admit=admit_embedding, prompt="input"),
    )
}
