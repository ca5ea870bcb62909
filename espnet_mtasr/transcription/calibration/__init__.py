"""What a model's confidences and word times are worth, and how they are fixed."""
