"""The configuration document written straight to Firestore: before there is a platform to apply it."""

from services.adapters.firestore import database as firestore
from services.adapters.firestore.config_documents import FirestoreConfigDocuments
from services.configuration.feed import Published
from services.runtime.process import utc_now


async def publish(
    body: bytes, after: int | None, *, project: str, database: str, emulator: str | None
) -> Published:
    """Publishes the document (JSON) behind version `after`, or behind the newest there is. Raises `Conflict`
    where somebody else was faster, `Unavailable` where Firestore does not answer.
    """
    api = firestore.connect(emulator)
    try:
        documents = FirestoreConfigDocuments(firestore.Database.at(api, project, database, emulator), utc_now)
        current = await documents.current() if after is None else None
        return await documents.publish(body, current.version if current else after or 0)
    finally:
        await firestore.close(api)
