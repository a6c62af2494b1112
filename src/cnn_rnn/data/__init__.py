"""Data sets of labelled images: one plain function a source, one schema, and the way from rows to tensors.

What a public name (see `__init__.pyi`) stands for is loaded when it is first used: one photo needs no data set.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
