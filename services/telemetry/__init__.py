"""What a process tells of itself: figures, traces and log lines; never a prompt, an answer or a key."""
