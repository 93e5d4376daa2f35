"""Jobs: when they are due, how they are started, and that each slot is run once."""
