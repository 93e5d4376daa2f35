"""`/v1/responses` told as chats: requests are translated on the way in, answers on the way out."""
