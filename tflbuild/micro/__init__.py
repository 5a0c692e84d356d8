"""TensorFlow Lite for Microcontrollers: what it runs, what it needs, and what it is built from."""
