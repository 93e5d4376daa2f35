"""What is decided when something is said; each function is a pure core with a handler around it."""
