"""What a single machine offers: files."""
