"""The decoders under the name by which programs of others import them."""

from cnn_rnn.data.photos.images import decode_image
from cnn_rnn.data.photos.pixels import decode_pixels

__all__ = ["decode_image", "decode_pixels"]
