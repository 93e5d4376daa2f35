"""What is changed of a request before an engine sees it: names that it knows, and a wish for usage."""

import msgspec

from functions.request.admission import Admitted

INCLUDE_USAGE = b'{"stream_options":{"include_usage":true},'
NEW_LIMIT, OLD_LIMIT = "max_completion_tokens", "max_tokens"
LIMITED = b'"%b"' % NEW_LIMIT.encode()

NULL = msgspec.Raw(b"null")

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


def for_engine(body: bytes, admitted: Admitted, served_as: str) -> bytes:
    """The body to send: the caller's bytes where nothing changes.

    A stream always reports its usage to us. All fields the caller sent stay as they are written, but that
    the limit of an answer's tokens is told under its old name as well: Ollama does not know the new one, and
    would go on and on (https://github.com/ollama/ollama/issues/7125).
    """
    ask = admitted.stream and not admitted.wants_usage
    if admitted.model == served_as and LIMITED not in body:
        if not ask:
            return body
        if not admitted.has_stream_options:
            return INCLUDE_USAGE + body[body.index(b"{") + 1 :]
    fields = _fields.decode(body)
    fields["model"] = msgspec.Raw(msgspec.json.encode(served_as))
    if (limit := fields.get(NEW_LIMIT, NULL)) != NULL:
        fields[OLD_LIMIT] = limit
    if ask:
        fields["stream_options"] = msgspec.Raw(_with_usage(bytes(fields.get("stream_options", b"null"))))
    return msgspec.json.encode(fields)


def _with_usage(options: bytes) -> bytes:
    known = _fields.decode(options) if options.strip() != b"null" else {}
    return msgspec.json.encode({**known, "include_usage": True})
