"""The client side of the pool: finds a replica, speaks the OpenAI wire to it, cancels in every phase."""
