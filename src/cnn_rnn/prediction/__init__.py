"""A saved model at work: on a data set, in bulk, and as a page of pictures.

What a public name (see `__init__.pyi`) stands for is loaded when it is first used: one photo needs no data set.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
