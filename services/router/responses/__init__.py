"""`POST /v1/responses`: read as a chat completion, answered as a response; nothing is kept."""
