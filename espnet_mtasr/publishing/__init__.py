"""Trained models brought to others: packed, described, exported to ONNX, uploaded."""
