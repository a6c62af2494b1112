"""Methods that a class does not show, because transformers would take it for something else by their names."""

from types import MethodType
from typing import Any, TypeVar, cast

Method = TypeVar("Method")


class InstanceMethod:
    """A method that the instances of a class have, and the class itself does not show."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def __get__(self, instance: Any, owner: type | None = None) -> MethodType:
        """The bound method.

        Raises:
            AttributeError: The class was asked.
        """
        if instance is None:
            raise AttributeError(self.function.__name__)
        return MethodType(self.function, instance)


def of_instances(method: Method) -> Method:
    """The method for instances alone.

    transformers takes a class that was loaded from a folder's own code for a generator of text where the class has a
    method `generate`: it would give it another class, one that cannot be pickled, and text generation's settings.
    """
    return cast("Method", InstanceMethod(method))
