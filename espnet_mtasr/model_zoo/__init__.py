"""Trained models as files: packed, found by name or on the hub, uploaded."""
