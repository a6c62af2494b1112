"""A model for others: its card, the Hub, an ONNX graph."""
