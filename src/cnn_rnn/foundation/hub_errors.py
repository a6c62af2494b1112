"""What the Hub, or the way to it, says when something goes wrong, as one sentence with a way out."""

from collections.abc import Iterator, Mapping

from huggingface_hub.errors import HfHubHTTPError

# What the client's HTTP library raises, of whichever name and version that library is.
HTTP_ERROR: type[Exception] = HfHubHTTPError.__bases__[0]

WAYS_OUT = {
    401: "the token is missing or not valid: log in with `hf auth login`, or set HF_TOKEN",
    403: "the token may not do this: use one with the access that it needs, and a name that is yours",
    404: "there is no such repository or revision, or the token may not see it",
    409: "it conflicts with what is there, or another change is under way: look at the repository and try again",
    412: "somebody else has changed the repository meanwhile: look at it and try again",
    429: "it was asked too often: try again later, with a token that has a higher limit",
}


class HubError(OSError):
    """The Hub did not do what it was asked for; the message says what it answered, and the way out."""


def reason_of(error: BaseException, ways_out: Mapping[int, str] = WAYS_OUT) -> str:
    """The reason why a request failed: the Hub's own answer, or else what happened first, in one line."""
    history = list(history_of(error))
    answers = [each.response for each in history if isinstance(each, HfHubHTTPError) and hasattr(each, "response")]
    if answers:
        status = answers[0].status_code
        trouble = "the Hub is in trouble: try again later" if status >= 500 else first_line(error)
        return f"the Hub answered {status}: {ways_out.get(status, trouble)}"
    while error.__cause__ is not None:
        error = error.__cause__
    if any(isinstance(each, HTTP_ERROR | ConnectionError | TimeoutError) for each in history):
        told = f"{type(error).__name__}: {first_line(error)}"
        return f"the connection failed ({told}): see that the Hub is reached and try again"
    return first_line(error)


def history_of(error: BaseException) -> Iterator[BaseException]:
    """The error, what it was raised from or while it was handled, and so on back."""
    following: BaseException | None = error
    while following is not None:
        yield following
        following = following.__cause__ or following.__context__


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its kind where it has none."""
    return next((line for line in str(error).splitlines() if line), type(error).__name__)
