"""A trained model as ONNX graphs: written by torch, run by onnxruntime."""
