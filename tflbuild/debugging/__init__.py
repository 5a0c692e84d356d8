"""Where quantization goes wrong: layers of a quantized file against those of its float file."""
