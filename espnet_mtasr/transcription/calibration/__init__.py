"""Calibration of a model's confidences and word times."""
