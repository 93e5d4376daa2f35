"""Adapters on Firestore."""
