"""The same state in memory: complete, but gone with the process; made for tests."""
