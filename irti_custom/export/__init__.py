"""Write a model as an ONNX graph, check it, and run it."""
