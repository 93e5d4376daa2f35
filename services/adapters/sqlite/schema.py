"""The tables of the data file, and how times are written in them."""

from datetime import UTC, datetime, timedelta

from services.adapters.sqlite.database import Schema

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def micros(time: datetime) -> int:
    """An aware time as microseconds since 1970, exactly."""
    return (time - _EPOCH) // _MICROSECOND


def moment(micros: int) -> datetime:
    """The time, in UTC, that was written as `micros`."""
    return _EPOCH + micros * _MICROSECOND


_BUS = (
    "CREATE TABLE subscriptions (name TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID",
    # One row for each subscription of a message, deleted on ack. `ready`: may be delivered now; else
    # at `due_at`, when its lease (`leased`) or its backoff ends. `attempt` counts deliveries. The
    # columns that change come first and keep their size, so that leasing rewrites no page of `data`.
    """
    CREATE TABLE messages (
        seq INTEGER PRIMARY KEY,
        ready INTEGER NOT NULL,
        leased INTEGER NOT NULL,
        due_at INTEGER NOT NULL,
        attempt INTEGER NOT NULL,
        published_at INTEGER NOT NULL,
        subscription TEXT NOT NULL,
        id TEXT NOT NULL,
        attributes BLOB NOT NULL,
        data BLOB NOT NULL
    )
    """,
    "CREATE UNIQUE INDEX messages_by_id ON messages (subscription, id)",
    "CREATE INDEX messages_ready ON messages (subscription) WHERE ready = 1",
    "CREATE INDEX messages_due ON messages (subscription, due_at) WHERE ready = 0",
    """
    CREATE TABLE dead_letters (
        seq INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        subscription TEXT NOT NULL,
        reason TEXT NOT NULL,
        dead_at INTEGER NOT NULL,
        attempt INTEGER NOT NULL,
        published_at INTEGER NOT NULL,
        message_id TEXT NOT NULL,
        attributes BLOB NOT NULL,
        data BLOB NOT NULL
    )
    """,
)

_LEDGER = (
    """
    CREATE TABLE pages (
        seq INTEGER PRIMARY KEY,
        folded INTEGER NOT NULL,
        id TEXT NOT NULL UNIQUE,
        producer TEXT NOT NULL,
        stored_at INTEGER NOT NULL,
        body BLOB NOT NULL
    )
    """,
    "CREATE INDEX pages_unfolded ON pages (producer) WHERE folded = 0",
    # `body` is empty where nothing is to be remembered; the row stays for its version.
    """
    CREATE TABLE standings (
        producer TEXT PRIMARY KEY,
        version INTEGER NOT NULL,
        body BLOB NOT NULL
    ) WITHOUT ROWID
    """,
    "CREATE INDEX standings_open ON standings (producer) WHERE body <> x''",
    """
    CREATE TABLE sums (
        day TEXT NOT NULL,
        tenant TEXT NOT NULL,
        key TEXT NOT NULL,
        model TEXT NOT NULL,
        requests INTEGER NOT NULL,
        input INTEGER NOT NULL,
        output INTEGER NOT NULL,
        cached INTEGER NOT NULL,
        reasoning INTEGER NOT NULL,
        estimated INTEGER NOT NULL,
        PRIMARY KEY (day, tenant, key, model)
    ) WITHOUT ROWID
    """,
)

_REQUESTS = (
    # `body` is the document; the other columns repeat what is asked for. `not_before` and
    # `lease_until` are 0 where the document has none.
    """
    CREATE TABLE requests (
        seq INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        version INTEGER NOT NULL,
        state TEXT NOT NULL,
        tenant TEXT NOT NULL,
        lane TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        deadline_at INTEGER NOT NULL,
        expire_at INTEGER NOT NULL,
        not_before INTEGER NOT NULL,
        lease_until INTEGER NOT NULL,
        owing INTEGER NOT NULL,
        written_at INTEGER NOT NULL,
        body BLOB NOT NULL
    )
    """,
    "CREATE INDEX requests_routed ON requests (tenant, lane, deadline_at, created_at) WHERE state = 'routed'",
    "CREATE INDEX requests_waiting ON requests (deadline_at) WHERE state IN ('accepted', 'routed')",
    "CREATE INDEX requests_running ON requests (lease_until) WHERE state = 'running'",
    "CREATE INDEX requests_accepted ON requests (created_at) WHERE state = 'accepted'",
    "CREATE INDEX requests_owing ON requests (written_at) WHERE owing = 1",
    "CREATE INDEX requests_ended ON requests (expire_at)"
    " WHERE owing = 0 AND state IN ('completed', 'failed', 'cancelled', 'expired')",
)

_BODIES = (
    """
    CREATE TABLE bodies (
        seq INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        expire_at INTEGER NOT NULL,
        sealed BLOB NOT NULL
    )
    """,
    "CREATE INDEX bodies_expire ON bodies (expire_at)",
)

_KEYS = (
    """
    CREATE TABLE keys (
        hash TEXT PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        tenant TEXT NOT NULL,
        body BLOB NOT NULL
    ) WITHOUT ROWID
    """,
    "CREATE INDEX keys_of_tenant ON keys (tenant)",
    "CREATE TABLE tenants (id TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE ring (revision INTEGER NOT NULL)",
    "INSERT INTO ring VALUES (0)",
)

_JOBS = (
    """
    CREATE TABLE job_records (
        job TEXT PRIMARY KEY,
        version INTEGER NOT NULL,
        body BLOB NOT NULL
    ) WITHOUT ROWID
    """,
)

_ADVICE = (
    """
    CREATE TABLE advice (
        backend TEXT PRIMARY KEY,
        version INTEGER NOT NULL,
        body BLOB NOT NULL
    ) WITHOUT ROWID
    """,
)

_QUEUED = (
    "ALTER TABLE requests ADD COLUMN backend TEXT NOT NULL DEFAULT ''",
    """
    UPDATE requests SET backend = json_extract(CAST(body AS TEXT), '$.backend')
    WHERE state = 'routed' AND json_valid(CAST(body AS TEXT))
        AND json_extract(CAST(body AS TEXT), '$.backend') IS NOT NULL
    """,
    "CREATE INDEX requests_queued ON requests (backend, lane, created_at) WHERE state = 'routed'",
)

_CACHE = (
    """
    CREATE TABLE cached (
        seq INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        key TEXT NOT NULL,
        tenant TEXT NOT NULL,
        model TEXT NOT NULL,
        expire_at INTEGER NOT NULL,
        sealed BLOB NOT NULL
    )
    """,
    "CREATE INDEX cached_key ON cached (key)",
    "CREATE INDEX cached_tenant ON cached (tenant)",
    "CREATE INDEX cached_model ON cached (model)",
    "CREATE INDEX cached_expire ON cached (expire_at)",
    "CREATE TABLE generations (one INTEGER PRIMARY KEY, version INTEGER NOT NULL, body BLOB NOT NULL)",
)

_CONFIG = (
    "CREATE TABLE config_versions (version INTEGER PRIMARY KEY, at INTEGER NOT NULL, body BLOB NOT NULL)",
)

_JOURNAL = (
    """
    CREATE TABLE journal (
        seq INTEGER PRIMARY KEY,
        request TEXT NOT NULL,
        place INTEGER NOT NULL,
        attempt INTEGER NOT NULL,
        first INTEGER NOT NULL,
        next INTEGER NOT NULL,
        expire_at INTEGER NOT NULL,
        closed INTEGER NOT NULL,
        sealed BLOB NOT NULL,
        body_id TEXT NOT NULL
    )
    """,
    "CREATE UNIQUE INDEX journal_places ON journal (request, place)",
    "CREATE INDEX journal_numbers ON journal (request, next, place)",
    "CREATE INDEX journal_expire ON journal (expire_at)",
)

_KEYED_CALLS = (
    """
    CREATE TABLE keyed_calls (
        id TEXT PRIMARY KEY,
        version INTEGER NOT NULL,
        expire_at INTEGER NOT NULL,
        body BLOB NOT NULL
    ) WITHOUT ROWID
    """,
    "CREATE INDEX keyed_calls_expire ON keyed_calls (expire_at)",
)

DATA = Schema(
    application_id=0x50454E53,  # "PENS"
    steps=(
        (*_BUS, *_LEDGER, *_REQUESTS, *_BODIES, *_KEYS),
        (*_JOBS, *_ADVICE, *_QUEUED, *_CACHE, *_CONFIG, *_JOURNAL, *_KEYED_CALLS),
    ),
)
