"""Multi-label image classification as a path of labels.

Importing the package registers its classes with transformers, so that `AutoModel`, `AutoModelForImageClassification`,
`AutoImageProcessor` and `pipeline` take a saved folder or a Hub name. It costs next to nothing: what a public name (see
`__init__.pyi`) stands for is loaded when the name is first used.
"""

import lazy_loader

from . import registration as registration  # for what it does

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
