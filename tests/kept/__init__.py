"""Data folders as released versions left them, and proof that today's code opens them."""
