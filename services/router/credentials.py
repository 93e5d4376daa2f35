"""API keys: how they look, and how a random string is told from one without asking the store."""

import hashlib
import secrets
import zlib

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
PREFIX = "psk_"
ADMIN_PREFIX = "pak_"
SECRET_LENGTH = 43  # 43 characters of 62 hold 256 bits
CHECK_LENGTH = 6  # and 6 hold a CRC-32


def mint(prefix: str = PREFIX) -> str:
    """A new key: prefix, 256 random bits, checksum."""
    secret = _base62(secrets.randbits(256), SECRET_LENGTH)
    return f"{prefix}{secret}{_check(prefix + secret)}"


def well_formed(key: str, prefix: str = PREFIX) -> bool:
    """Whether the checksum fits; a mistyped or invented key fails it."""
    if len(key) != len(prefix) + SECRET_LENGTH + CHECK_LENGTH or not key.startswith(prefix):
        return False
    return key[-CHECK_LENGTH:] == _check(key[:-CHECK_LENGTH])


def digest(key: str) -> str:
    """What is stored of a key: its SHA-256, hex. 256 random bits need no salt and no stretching."""
    return hashlib.sha256(key.encode()).hexdigest()


def public_id(key: str) -> str:
    """The name a key has in reports."""
    return f"key_{digest(key)[:12]}"


def _check(text: str) -> str:
    return _base62(zlib.crc32(text.encode()), CHECK_LENGTH)


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))
