"""What is refused, with the status that HTTP has for it."""


class RefusedError(Exception):
    """A request that is not answered; the message is one line with the way out.

    Args:
        status: Of HTTP.
        message: What is said.
        retry_after: Seconds after which the same request may be answered; None where it never will be.
    """

    def __init__(self, status: int, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status, self.retry_after = status, retry_after

    @property
    def headers(self) -> dict[str, str]:
        """Those that belong to the answer."""
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return headers | ({"WWW-Authenticate": "Bearer"} if self.status == 401 else {})


def busy(what: str) -> RefusedError:
    """What is said while there is more to do than fits."""
    return RefusedError(503, f"{what}; ask again in a second", retry_after=1)
