"""The parts of a training run.

What a public name (see `__init__.pyi`) stands for is loaded when it is first used: settings are read without torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
