"""What all share that write request documents: telling what a document owes, waking who waits for an end."""
