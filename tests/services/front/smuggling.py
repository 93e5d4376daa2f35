"""Requests two readers could take for different ones: what is behind each must never be answered."""

POST = b"POST /x HTTP/1.1\r\nhost: test\r\n"
GET = b"GET /x HTTP/1.1\r\nhost: test\r\n"
CHUNKED = POST + b"transfer-encoding: chunked\r\n\r\n"
END = b"\r\n\r\n"
UPGRADE = b"connection: upgrade\r\nupgrade: h2c\r\n"
NO_BODY = b"0\r\n\r\n"
MANY = 300_000  # more than is read at once


def lengths(*values: bytes) -> bytes:
    return POST + b"".join(b"content-length:%b\r\n" % value for value in values) + b"\r\nabc"


def codings(*values: bytes) -> bytes:
    return POST + b"".join(b"transfer-encoding:%b\r\n" % value for value in values) + b"\r\n" + NO_BODY


def field(line: bytes) -> bytes:
    return POST + line + b"\r\n\r\n"


def chunk(line: bytes, data: bytes = b"abc\r\n") -> bytes:
    return CHUNKED + line + b"\r\n" + data + NO_BODY


def first_line(line: bytes) -> bytes:
    return line + b"\r\nhost: test\r\n\r\n"


LENGTHS = {
    "the same twice": lengths(b" 3", b" 3"),
    "two": lengths(b" 3", b" 4"),
    "a list": lengths(b" 3, 3"),
    "an unfinished list": lengths(b" 3,"),
    "a plus": lengths(b" +3"),
    "a minus": lengths(b" -3"),
    "in hex": lengths(b" 0x3"),
    "a space inside": lengths(b" 1 0"),
    "empty": lengths(b""),
    "blank": lengths(b" \t"),
    "a vertical tab before": lengths(b"\x0b3"),
    "a vertical tab behind": lengths(b" 3\x0b"),
    "an underscore": lengths(b" 1_0"),
    "digits of another script": lengths(" ٣".encode()),
    "quotes": lengths(b' "3"'),
    "a fraction": lengths(b" 3.0"),
    "an exponent": lengths(b" 3e0"),
    "beyond 64 bits": lengths(b" %d" % (2**64 + 3)),
    "more digits than a number may have": lengths(b" " + b"0" * 5_000 + b"3"),
    "a space before the colon": POST + b"content-length : 3\r\n\r\nabc",
    "a tab before the colon": POST + b"content-length\t: 3\r\n\r\nabc",
    "a space before its name": b"POST /x HTTP/1.1\r\n content-length: 3\r\nhost: test\r\n\r\nabc",
    "folded": lengths(b"\r\n 3"),
    "folded behind": lengths(b" 3\r\n 4"),
    "twice behind an upgrade": POST + UPGRADE + b"content-length: 3\r\ncontent-length: 3\r\n\r\nabc",
    "with chunks": POST + b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n" + NO_BODY,
    "with an empty coding": POST + b"content-length: 3\r\ntransfer-encoding:\r\n\r\nabc",
    "with identity": POST + b"content-length: 3\r\ntransfer-encoding: identity\r\n\r\nabc",
    "in a trailer": CHUNKED + b"0\r\ncontent-length: 3\r\n\r\n",
}

CODINGS = {
    "with a length": POST + b"transfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n" + NO_BODY,
    "with a length, to be dropped": POST
    + b"connection: transfer-encoding\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n"
    + NO_BODY,
    "with a length behind an upgrade": POST
    + UPGRADE
    + b"transfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n"
    + NO_BODY,
    "xchunked": codings(b" xchunked"),
    "chunkedx": codings(b" chunkedx"),
    "a trailing space": codings(b" chunked "),
    "a trailing tab": codings(b" chunked\t"),
    "a leading vertical tab": codings(b"\x0bchunked"),
    "a trailing vertical tab": codings(b" chunked\x0b"),
    "a form feed": codings(b" chunked\x0c"),
    "a null": codings(b" chunked\0"),
    "quotes": codings(b' "chunked"'),
    "a parameter": codings(b" chunked;q=1"),
    "empty": codings(b""),
    "identity": codings(b" identity"),
    "identity behind": codings(b" chunked, identity"),
    "identity before": codings(b" identity, chunked"),
    "gzip before": codings(b" gzip, chunked"),
    "chunked twice in a list": codings(b" chunked, chunked"),
    "an unfinished list": codings(b" chunked,"),
    "a list that begins with nothing": codings(b" ,chunked"),
    "twice": codings(b" chunked", b" chunked"),
    "identity in a second line": codings(b" chunked", b" identity"),
    "identity in a first line": codings(b" identity", b" chunked"),
    "nonsense in a second line": codings(b" chunked", b" cow"),
    "folded": codings(b"\r\n chunked"),
    "folded behind": codings(b" chunked\r\n identity"),
    "a space before the colon": POST + b"transfer-encoding : chunked\r\n\r\n" + NO_BODY,
    "twice behind an upgrade": POST
    + UPGRADE
    + b"transfer-encoding: identity\r\ntransfer-encoding: chunked\r\n\r\n"
    + NO_BODY,
    "in HTTP/1.0": b"POST /x HTTP/1.0\r\nconnection: keep-alive\r\ntransfer-encoding: chunked\r\n\r\n"
    + NO_BODY,
    "in a trailer": CHUNKED + b"0\r\ntransfer-encoding: chunked\r\n\r\n",
}

CHUNKS = {
    "no size": chunk(b""),
    "no number": chunk(b"zz"),
    "a minus": chunk(b"-3"),
    "a plus": chunk(b"+3"),
    "0x": chunk(b"0x3"),
    "an underscore": chunk(b"1_0", b"x" * 16 + b"\r\n"),
    "a space before": chunk(b" 3"),
    "a space behind": chunk(b"3 "),
    "a tab behind": chunk(b"3\t"),
    "beyond 64 bits": chunk(b"10000000000000003"),
    "a line feed alone": CHUNKED + b"3\nabc\r\n" + NO_BODY,
    "a carriage return alone": CHUNKED + b"3\rabc\r\n" + NO_BODY,
    "a line feed alone behind the data": chunk(b"3", b"abc\n"),
    "no line's end behind the data": chunk(b"3", b"abc"),
    "more data than it says": chunk(b"1"),
    "a line feed alone behind the last": CHUNKED + b"0\n\r\n",
    "a line feed alone at the end": CHUNKED + b"0\r\n\n",
    "an extension without a name": chunk(b"3;"),
    "a line feed in an extension": chunk(b"3;a\nb"),
    "a carriage return in an extension": chunk(b"3;a\rb"),
    "a null in an extension": chunk(b"3;a\0"),
    "a line's end in a quoted extension": chunk(b'3;a="b\r\nc"'),
    "spaces around an extension": chunk(b"3 ; a"),
}

FIELDS = {
    "folded by a space": field(b"x: a\r\n b"),
    "folded by a tab": field(b"x: a\r\n\tb"),
    "folded to nothing": field(b"x: a\r\n "),
    "a line feed alone": field(b"x: a\ny: b"),
    "a carriage return alone": field(b"x: a\ry: b"),
    "a carriage return too many": field(b"x: a\r"),
    "an end of line feeds": POST + b"\n",
    "no colon": field(b"x"),
    "no name": field(b": a"),
    "a null in a name": field(b"x\0y: a"),
    "a letter beyond ASCII in a name": field(b"x\xff: a"),
    "a bracket in a name": field(b"x(y): a"),
    "a space in a name": field(b"x y: a"),
    **{f"0x{code:02x} in a value": field(b"x: a%cb" % code) for code in (0, 1, 8, 11, 12, 27, 31, 127)},
}

FIRST_LINES = {
    "without a version": first_line(b"GET /x "),
    "half a version": first_line(b"GET /x HTTP/1"),
    "a version of two digits": first_line(b"GET /x HTTP/01.1"),
    "an unknown version": first_line(b"GET /x HTTP/1.2"),
    "a version in small letters": first_line(b"GET /x http/1.1"),
    "a space behind": first_line(b"GET /x HTTP/1.1 "),
    "a letter behind": first_line(b"GET /x HTTP/1.1x"),
    "a line feed alone": b"GET /x HTTP/1.1\nhost: test\r\n\r\n",
    "line feeds only": b"GET /x HTTP/1.1\nhost: test\n\n",
    "a tab": first_line(b"GET\t/x HTTP/1.1"),
    "a space in its path": first_line(b"GET /x y HTTP/1.1"),
    "a tab in its path": first_line(b"GET /x\ty HTTP/1.1"),
    "a null in its path": first_line(b"GET /x\0 HTTP/1.1"),
    "0x01 in its path": first_line(b"GET /x\x01 HTTP/1.1"),
    "0x7f in its path": first_line(b"GET /x\x7f HTTP/1.1"),
    "a letter beyond ASCII in its path": first_line(b"GET /x\xff HTTP/1.1"),
    "a fragment": first_line(b"GET /x#y HTTP/1.1"),
    "a URL": first_line(b"GET http://test/x HTTP/1.1"),
    "a URL elsewhere": first_line(b"GET http://example/x HTTP/1.1"),
    "a host": first_line(b"GET test:80 HTTP/1.1"),
    "no path": first_line(b"GET x HTTP/1.1"),
    "a star": first_line(b"OPTIONS * HTTP/1.1"),
    "a proxy's": first_line(b"CONNECT test:80 HTTP/1.1"),
    "a method in small letters": first_line(b"get /x HTTP/1.1"),
    "a very long method": first_line(b"G" * MANY + b" /x HTTP/1.1"),
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}

HOSTS = {
    "none": b"GET /x HTTP/1.1\r\n\r\n",
    "the same twice": GET + b"host: test\r\n\r\n",
    "two": GET + b"Host: example\r\n\r\n",
    "a list": b"GET /x HTTP/1.1\r\nhost: test, example\r\n\r\n",
    "a space": b"GET /x HTTP/1.1\r\nhost: te st\r\n\r\n",
    "a path": b"GET /x HTTP/1.1\r\nhost: test/y\r\n\r\n",
    "a user": b"GET /x HTTP/1.1\r\nhost: me@test\r\n\r\n",
    "none, behind an upgrade": b"GET /x HTTP/1.1\r\n" + UPGRADE + b"\r\n",
}

OTHERS = {  # refused with another status than 400
    "HTTP/0.9": (505, b"GET /x\r\n\r\n"),
    "HTTP/0.9 with headers": (505, b"POST /x\r\nhost: test\r\ncontent-length: 3\r\n\r\nabc"),
    "HTTP/0.9 ended by a line feed": (505, b"GET /x\nhost: test\r\n\r\n"),
    "HTTP/0.9 by name": (505, first_line(b"GET /x HTTP/0.9")),
    "HTTP/2.0 by name": (505, first_line(b"GET /x HTTP/2.0")),
    "an expectation nobody meets": (417, POST + b"expect: 200-ok\r\ncontent-length: 3\r\n\r\nabc"),
    "two expectations": (417, POST + b"expect: 100-continue, a\r\ncontent-length: 3\r\n\r\nabc"),
    "a very long path": (431, first_line(b"GET /" + b"x" * MANY + b" HTTP/1.1")),
    "a very long name": (431, field(b"x" * MANY + b": y")),
    "very many names": (431, field(b"x:\r\n" * MANY + b"y: z")),
    "a very long chunk extension": (431, chunk(b"3;" + b"x" * MANY)),
    "a very long chunk size": (431, chunk(b"0" * MANY + b"3")),
    "very long trailers": (431, CHUNKED + b"0\r\n" + b"x: y\r\n" * MANY + b"\r\n"),
}

REFUSED: dict[str, dict[str, tuple[int, bytes]]] = {
    kind: {name: (400, said) for name, said in cases.items()}
    for kind, cases in {
        "lengths": LENGTHS,
        "codings": CODINGS,
        "chunks": CHUNKS,
        "fields": FIELDS,
        "first lines": FIRST_LINES,
        "hosts": HOSTS,
    }.items()
} | {"others": OTHERS}

# Said unusually, and by all readers taken for the same; what is behind is a request of its own.
TAKEN = {
    "blanks around a length": POST + b"content-length: \t3 \t\r\n\r\nabc",
    "zeros before a length": lengths(b" 0003"),
    "chunked in capitals": codings(b" CHUNKED"),
    "a tab before chunked": codings(b"\tchunked"),
    "zeros before a chunk's size": chunk(b"0003"),
    "chunk extensions": chunk(b'3;a;b=c;d="e\\"f;\xff"'),
    "a trailer": CHUNKED + b"3\r\nabc\r\n0\r\nx: y\r\n\r\n",
    "an upgrade": POST + UPGRADE + b"content-length: 3\r\n\r\nabc",
    "an upgrade without a body": GET + UPGRADE + b"\r\n",
    "a body of a GET": GET + b"content-length: 3\r\n\r\nabc",
    "empty lines before it": b"\r\n\r\n" + GET + b"\r\n",
    "an empty host": b"GET /x HTTP/1.1\r\nhost:\r\n\r\n",
    "a host and its port": b"GET /x HTTP/1.1\r\nhost: [::1]:8080\r\n\r\n",
    "HTTP/1.0 that is kept, without a host": b"POST /x HTTP/1.0\r\nconnection: keep-alive\r\n"
    b"content-length: 3\r\n\r\nabc",
    "a length with an underscore is another header": POST + b"content_length: 3\r\n\r\n",
}
