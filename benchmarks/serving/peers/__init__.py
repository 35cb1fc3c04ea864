"""Other model servers around the same ONNX model. Each module runs in its server's own environment, without ours."""
