"""What a run finds out: what each load got, what the gateway used, and a row for each gateway."""

from statistics import median

from msgspec import Struct, field


class Load(Struct, frozen=True, kw_only=True):
    """What wrk got: whole answers, each with a status below 400; latencies in microseconds."""

    answered: int
    failed: int
    seconds: float
    p50_us: int
    p99_us: int
    max_us: int

    @property
    def rps(self) -> float:
        """Answers a second."""
        return self.answered / self.seconds


class Calls(Struct, frozen=True, kw_only=True):
    """What our own client got; it leaves no call unanswered when it ends.

    `events` counts the events of streamed answers, `[DONE]` included; `first_*` is the time to an
    answer's first byte of body; `gap_*` is the time between one piece of a stream and the next.
    """

    answered: int
    failed: int
    events: int
    seconds: float
    first_p50_us: int
    first_p99_us: int
    gap_p99_us: int
    gap_p999_us: int


class Lag(Struct, frozen=True, kw_only=True):
    """Latencies of an endpoint that does no I/O, each counted from when the call was due."""

    calls: int
    failed: int
    p50_us: int
    p99_us: int
    max_us: int


class Cpu(Struct, frozen=True, kw_only=True):
    """Processor time of a gateway, in milliseconds; `writer` is the busiest thread beside the main one."""

    total_ms: float
    main_ms: float
    writer_ms: float


class Round(Struct, frozen=True, kw_only=True):
    """One turn of a gateway under wrk; `cpu` is of the load with 64 connections."""

    c1: Load
    c8: Load
    c64: Load
    cpu: Cpu | None


class StreamRound(Struct, frozen=True, kw_only=True):
    """One turn of a gateway with streams; `sent` is the events that the upstream wrote for it."""

    calls: Calls
    sent: int
    cpu: Cpu | None


class Ledger(Struct, frozen=True, kw_only=True):
    """How a platform kept its books during a load with 64 connections, and how its loop felt meanwhile."""

    idle: Lag
    busy: Lag
    rps: float
    commits_per_s: float
    records_per_page: float


class Row(Struct, kw_only=True):
    """All that was found out about one gateway; it is valid where there are no `problems`."""

    name: str
    starts_s: list[float] = field(default_factory=list)
    rss_idle_mb: float | None = None
    rss_loaded_mb: float | None = None
    rounds: list[Round] = field(default_factory=list)
    streams: dict[str, list[StreamRound]] = field(default_factory=dict)
    ledger: Ledger | None = None
    records_checked: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def rps(self) -> float:
        """The median of the rounds, at 64 connections."""
        return median(turn.c64.rps for turn in self.rounds)


class Ready(Struct, frozen=True, kw_only=True):
    """Where the services of a cloud are, each as `host:port`, and an API key that is known there."""

    firestore: str
    pubsub: str
    books: str
    key: str


class Counted(Struct, kw_only=True):
    """What was published so far: calls of Pub/Sub, pages in them, and the sums of what the pages bill."""

    calls: int = 0
    pages: int = 0
    requests: int = 0
    input: int = 0
    output: int = 0
    estimated: int = 0


class Header(Struct, frozen=True, kw_only=True):
    """When and where a run took place; `sync_ms` is the median of writing and syncing 20 KB."""

    at: str
    python: str
    processor: str
    cores: int
    system: str
    sync_ms: float
    load_before: float


def percentile(sorted_values: list[float], share: float) -> float:
    """The value below which that share of the values lies; 0 where there are none."""
    if not sorted_values:
        return 0.0
    return sorted_values[min(len(sorted_values) - 1, int(len(sorted_values) * share))]


def micros(seconds: float) -> int:
    """Whole microseconds."""
    return round(seconds * 1e6)
