"""A checkpoint to ONNX: export, quantize, score, time, predict."""
