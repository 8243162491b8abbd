"""Networks in PyTorch, model folders, and their ONNX files."""
