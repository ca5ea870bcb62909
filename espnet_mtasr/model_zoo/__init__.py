"""Trained models as files: found by name, in a folder or zip, or on the hub."""
