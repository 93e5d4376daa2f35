"""Whose certificates are taken, and what is told of one that is not."""

import functools
import ssl


def make_tls() -> ssl.SSLContext:
    """Takes only certificates that the authorities of this machine vouch for, and only for the host's name.

    Those are OpenSSL's own; SSL_CERT_FILE or SSL_CERT_DIR in the environment name others.
    """
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


usual_tls = functools.cache(make_tls)  # reading the authorities takes tens of milliseconds


def why_not(error: OSError) -> str:
    """Why no connection was made, in words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message.rstrip('.')}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or error}"
    return error.strerror or str(error)
