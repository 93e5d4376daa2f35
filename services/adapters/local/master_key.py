"""A master key in a file beside the data: as safe as the disk it lies on."""

import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from events.words import Invalid
from services.adapters.local.secret_file import read_or_create

NONCE_BYTES = 12
KEY_BYTES = 32


class FileMasterKey:
    """AES-256-GCM under a key kept in a file of mode 0600, made at the first start."""

    def __init__(self, path: Path) -> None:
        text = read_or_create(path, lambda: secrets.token_hex(KEY_BYTES))
        try:
            key = bytes.fromhex(text)
        except ValueError as error:
            raise Invalid(f"{path} does not hold a master key ({2 * KEY_BYTES} hex digits).") from error
        if len(key) != KEY_BYTES:
            raise Invalid(f"{path} does not hold a master key ({2 * KEY_BYTES} hex digits).")
        self._path = path
        self._cipher = AESGCM(key)

    async def wrap(self, tenant: str, data_key: bytes) -> bytes:
        """See `MasterKey`."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, data_key, tenant.encode())

    async def unwrap(self, tenant: str, wrapped: bytes) -> bytes:
        """See `MasterKey`."""
        try:
            return self._cipher.decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], tenant.encode())
        except InvalidTag as error:
            raise Invalid(
                f"The data key of {tenant} was not wrapped by the master key in {self._path}."
            ) from error
