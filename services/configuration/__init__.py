"""The configuration document as it is published, and the version a process serves."""
