"""OpenAI's words over HTTP, for whoever answers or calls: header lines, the error envelope, ids."""
