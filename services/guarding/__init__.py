"""The guard: what may judge a prompt, and what stands between an answer and its reader."""
