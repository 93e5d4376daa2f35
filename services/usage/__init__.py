"""How usage records leave a process: gathered into pages and published."""
