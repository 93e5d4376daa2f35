"""Makes a data folder with API keys of one tenant, whose answers may be cached.

python -m tests.bench.programs.keys DATA_DIR COUNT FILE

The keys are written to FILE, one a line.
"""

import argparse
import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

from events.words import ApiKey, Tenant
from services.adapters.local.folder import DataFolder
from services.router.credentials import digest, mint, public_id
from services.runtime.process import utc_now
from services.runtime.stores import open_local

TENANT = "bench"
AT_ONCE = 500


async def make(folder: Path, count: int) -> list[str]:
    """The keys, once they are stored."""
    now = utc_now()
    made = [mint() for _ in range(count)]
    async with AsyncExitStack() as stack:
        held = DataFolder(folder)
        held.prepare()
        held.lock()
        stack.callback(held.unlock)
        stores, _ = await open_local(held, utc_now, stack)
        await stores.keys.add_tenant(Tenant(id=TENANT, name=TENANT, created_at=now, cache="on"))
        for first in range(0, count, AT_ONCE):
            rows = [
                ApiKey(hash=digest(key), id=public_id(key), tenant=TENANT, name="", created_at=now)
                for key in made[first : first + AT_ONCE]
            ]
            await asyncio.gather(*map(stores.keys.add, rows))
    return made


def main() -> None:
    """Makes them."""
    parser = argparse.ArgumentParser(description="Makes a data folder with many API keys.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("count", type=int)
    parser.add_argument("file", type=Path, help="where to write the keys, one a line")
    options = parser.parse_args()
    options.file.write_text("\n".join(asyncio.run(make(options.folder, options.count))) + "\n")


if __name__ == "__main__":
    main()
