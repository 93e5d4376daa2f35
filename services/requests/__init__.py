"""What all share that write request documents: what comes by topic, what is owed, who waits for an end."""
