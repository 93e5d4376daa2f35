"""`/v1/responses`: answered at once like a chat, or in the background; kept where that is asked for."""
