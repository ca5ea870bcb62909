"""Share trained models: packing, model card, ONNX export, upload."""
