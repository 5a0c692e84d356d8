"""Imported by the `tf` zygote so that no child pays for TensorFlow's lazily loaded parts."""

from tensorflow.core.framework import graph_pb2  # noqa: F401
from tensorflow.lite.python import convert, lite  # noqa: F401
from tensorflow.python.framework import convert_to_constants  # noqa: F401
from tensorflow.python.saved_model import loader_impl  # noqa: F401
