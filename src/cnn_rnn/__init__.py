"""Multi-label image classification as a path of labels.

Importing the package registers its classes with transformers, so that `AutoModel`, `AutoModelForImageClassification`,
`AutoImageProcessor` and `pipeline` take a saved folder or a Hub name. It costs next to nothing: what a public name (see
`__init__.pyi`) stands for is loaded when the name is first used, what registers when transformers is.
"""

import sys
from importlib import import_module

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


class _WithTransformers:
    """A finder of modules that finds none: asked for transformers, it loads what registers our classes there."""

    def find_spec(self, name: str, *_: object) -> None:
        """None, so that the module is found as always."""
        if name == "transformers":
            sys.meta_path.remove(self)
            import_module(f"{__name__}.registration")


if "transformers" in sys.modules:
    import_module(f"{__name__}.registration")
else:
    sys.meta_path.insert(0, _WithTransformers())
