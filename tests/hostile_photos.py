"""Small photos of every format that is read, with tags of any bytes, to be spoilt."""

import io

from hypothesis import strategies as st
from PIL import Image

from cnn_rnn.upright_rgb import FORMATS

MODES = ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"]
WRITTEN = [kind for kind in FORMATS if kind in {"BMP", "GIF", "JPEG", "MPO", "PNG", "PPM", "TIFF", "WEBP"}]
TAGS = [b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0", b"MM\0*\xff\xff\xff\xff"]


def photos() -> st.SearchStrategy[bytes]:
    """A picture of few pixels in any format and mode; one that the format does not take is made RGB."""

    def save(kind: str, mode: str, size: tuple[int, int], exif: bytes) -> bytes:
        picture, sink = Image.new(mode, size), io.BytesIO()
        options = {"exif": exif} if exif else {}
        try:
            picture.save(sink, kind, **options)
        except Exception:  # noqa: BLE001 - of a mode or tags that the format does not take
            sink = io.BytesIO()
            Image.new("RGB", size).save(sink, kind)
        return sink.getvalue()

    side = st.integers(1, 9)
    tags = st.just(b"") | st.sampled_from(TAGS) | st.binary(max_size=24)
    return st.builds(save, st.sampled_from(WRITTEN), st.sampled_from(MODES), st.tuples(side, side), tags)
