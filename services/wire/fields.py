"""Header lines of requests and replies."""

Fields = bytes  # header field lines, each ending in CRLF

JSON: Fields = b"content-type: application/json\r\n"


def field(name: str, value: str) -> Fields:
    """One header line; characters that could end it early are dropped."""
    clean = value.encode("ascii", "replace").translate(None, b"\r\n\0")
    return b"%b: %b\r\n" % (name.encode(), clean)
