"""The `.tflite` flatbuffer: read, write, signatures, cost, checks, digest. No TensorFlow here."""
