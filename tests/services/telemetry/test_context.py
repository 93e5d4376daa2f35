"""Trace contexts as callers send them, and who is sampled."""

import pytest

from events.words import Invalid
from services.telemetry.context import RATIO, Context, Sampler, context_in, sampler_of
from services.telemetry.spans import Span, Tracer

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"


@pytest.mark.parametrize(
    ("header", "sampled"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-00", False),
        (f"00-{TRACE}-{SPAN}-ff", True),
        (f"00-{TRACE}-{SPAN}-02", False),
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like", True),
    ],
)
def test_a_context_is_read(header: str, sampled: bool) -> None:
    assert Context(trace_id=TRACE, span_id=SPAN, sampled=sampled) == context_in(header.encode())


@pytest.mark.parametrize(
    "header",
    [
        "",
        "00",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-more",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01, 00-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n",
        "x" * 10_000,
    ],
)
def test_what_is_malformed_is_none(header: str) -> None:
    assert context_in(header.encode()) is None


def test_a_context_is_told_as_it_was_read() -> None:
    header = f"00-{TRACE}-{SPAN}-01".encode()
    found = context_in(header)

    assert found is not None
    assert header == found.header


def parent(*, sampled: bool, trace: str = TRACE) -> Context:
    return Context(trace_id=trace, span_id=SPAN, sampled=sampled)


def test_a_caller_that_decided_is_followed() -> None:
    assert Sampler(ratio=0.0).samples(parent(sampled=True))
    assert not Sampler(ratio=1.0).samples(parent(sampled=False))


def test_without_a_caller_s_word_chance_decides() -> None:
    assert Sampler(ratio=0.5).samples(None, lambda: 0.49)
    assert not Sampler(ratio=0.5).samples(None, lambda: 0.5)


def test_by_ratio_alone_one_trace_is_decided_alike_everywhere() -> None:
    sampler = Sampler(ratio=0.5, by_parent=False)

    assert sampler.samples(parent(sampled=False, trace=f"{'f' * 16}{'7' * 16}"))
    assert not sampler.samples(parent(sampled=True, trace=f"{'0' * 16}{'9' * 16}"))


@pytest.mark.parametrize(
    ("name", "argument", "sampler"),
    [
        ("", "", Sampler(ratio=RATIO)),
        ("", "0.2", Sampler(ratio=0.2)),
        ("always_on", "", Sampler(ratio=1.0, by_parent=False)),
        ("parentbased_always_off", "", Sampler(ratio=0.0)),
        ("traceidratio", "0.25", Sampler(ratio=0.25, by_parent=False)),
        ("Parentbased_TraceIdRatio", "", Sampler(ratio=1.0)),
    ],
)
def test_opentelemetrys_variables_say_the_sampler(name: str, argument: str, sampler: Sampler) -> None:
    assert sampler == sampler_of(name, argument)


@pytest.mark.parametrize(("name", "argument"), [("jaeger", ""), ("traceidratio", "2"), ("traceidratio", "x")])
def test_a_sampler_unknown_or_out_of_bounds_is_told_by_its_variable(name: str, argument: str) -> None:
    with pytest.raises(Invalid, match=r"^OTEL_TRACES_SAMPLER.* use "):
        sampler_of(name, argument)


def test_only_the_first_end_of_a_span_counts() -> None:
    ended: list[Span] = []
    tracer = Tracer(ended.append, now_ns=iter(range(10)).__next__)
    span = tracer.begin("work", "internal", None)
    tracer.end(span, "timeout")
    tracer.end(span)

    assert [span] == ended
    assert (0, 1, "timeout", "") == (span.began_ns, span.ended_ns, span.error, span.parent)


@pytest.mark.parametrize("header", ["", f"00-{TRACE}-{SPAN}-00", "junk"])
def test_what_belongs_to_no_sampled_call_has_no_span(header: str) -> None:
    assert Tracer([].append).follow("work", "consumer", header) is None
