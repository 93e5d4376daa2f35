"""The rehearsal engine: speaks the OpenAI wire, makes its answers up and says so; timed like real engines."""
