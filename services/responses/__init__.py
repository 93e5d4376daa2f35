"""`/v1/responses` and what a chat completion makes of it: requests are translated on the way in, answers out."""
