"""What is said about the cache of answers."""

from datetime import datetime
from typing import ClassVar, Literal

from events.envelope import Event


class CacheOffered(Event):
    """A router gave an answer that may be given again, to a tenant that turned caching on.

    `key`: what was asked, as a keyed hash that tells nothing of it. `entry_id`: under which name it is kept.
    `expire_at`: it is given again until then. `sealed`: the answer, sealed under the tenant's key with kind
    "cache".
    """

    about: ClassVar[str] = "key"

    key: str
    tenant: str
    model: str
    entry_id: str
    expire_at: datetime
    sealed: bytes


class CachePurged(Event):
    """Answers that were kept are not given any more; what is still stored of them is to be deleted.

    `scope`: whether it is those of a tenant, those of a model, or the one of a key. `name`: of which.
    """

    about: ClassVar[str] = "name"

    scope: Literal["tenant", "model", "key"]
    name: str
