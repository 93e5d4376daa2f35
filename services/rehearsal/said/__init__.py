"""What the engine says: words, instances of schemas, vectors; decided by dice and nothing else."""
