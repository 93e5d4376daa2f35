"""What the parser leaves to us: heads two readers could differ over, other protocols, bodies in pieces."""

from functools import lru_cache
from string import ascii_letters, digits

VERSIONS = frozenset({"1.1", "1.0"})
HOST_BYTES = f"-._~!$&'()*+;=:[]%{ascii_letters}{digits}".encode()  # RFC 3986's, but for the comma
FRAMING = 8  # bytes on the wire for one of a body, at most: chunks of one byte need six
LENGTH_DIGITS = 19  # of 2**63; more are leading zeros, which another may not read as we do

Mistake = tuple[int, str]  # a status, and a sentence


def mistake_in(target: bytes, headers: dict[bytes, bytes], version: str) -> Mistake | None:
    """Why a head is to be refused. `headers` are as in `Call`: those sent twice are joined by commas."""
    if version not in VERSIONS:
        return 505, f"HTTP/{version} is not spoken here; use HTTP/1.1."
    if not _is_path(target):
        return 400, "The request's target must be a path, as /v1/models is: this is no proxy."
    host = headers.get(b"host")
    if host is None:
        if version == "1.1":
            return 400, "The request has no Host header; HTTP/1.1 asks for one."
    elif not _is_host(host):
        return 400, "The request's Host header is not the one name of a host."
    if b"transfer-encoding" in headers and (mistake := _mistake_in_coding(headers, version)):
        return mistake
    if len(headers.get(b"content-length", b"")) > LENGTH_DIGITS:
        return 400, "The request's Content-Length has too many digits."
    expected = headers.get(b"expect")
    if expected is not None and expected.lower() != b"100-continue":
        return 417, "The only expectation met here is: Expect: 100-continue."
    return None


@lru_cache(64)  # the same few all day: looked up, not read again
def _is_path(target: bytes) -> bool:
    return target.startswith(b"/") and b"#" not in target


@lru_cache(64)
def _is_host(host: bytes) -> bool:
    return not host.translate(None, HOST_BYTES)


def _mistake_in_coding(headers: dict[bytes, bytes], version: str) -> Mistake | None:
    if version != "1.1":
        return 400, "HTTP/1.0 has no Transfer-Encoding; send a Content-Length."
    if headers[b"transfer-encoding"].lower() != b"chunked":
        return 400, "The only Transfer-Encoding taken here is chunked."
    return None


def without_upgrade(method: bytes, target: bytes, version: str, headers: dict[bytes, bytes]) -> bytes:
    """A head as it would be without the wish for another protocol."""
    lines = [b"%b: %b" % field for field in headers.items() if field[0] != b"upgrade"]
    return b"\r\n".join([b"%b %b HTTP/%b" % (method, target, version.encode()), *lines, b"\r\n"])


def grown(body: bytes | bytearray, piece: bytes) -> bytearray:
    """A body and its next piece: it grows in place."""
    growing = body if isinstance(body, bytearray) else bytearray(body)
    growing += piece
    return growing
