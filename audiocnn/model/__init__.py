"""A network in torch, the folder that holds a model, and its ONNX file."""
