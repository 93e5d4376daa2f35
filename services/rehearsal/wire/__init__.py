"""Answers as OpenAI's wire has them."""
