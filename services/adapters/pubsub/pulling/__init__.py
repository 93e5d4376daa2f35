"""Pulling one subscription: what is held of it, how it is answered, and the stream it comes by."""
