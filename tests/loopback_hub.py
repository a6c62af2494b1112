"""What a Hub on this machine holds: repositories, each a history of commits, and the faults that a test plans.

A commit holds whole files, so a reader of any revision sees all of a push or nothing of it.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

TOKEN = "hf_loopback"  # noqa: S105 - the only token that this Hub knows
CUT = 0  # in place of a status: the connection ends in the middle of the request
HALF = 1  # in place of a status: the connection ends in the middle of the answer
NOT_FOUND = {"repo": "RepoNotFound", "revision": "RevisionNotFound", "entry": "EntryNotFound"}


def git_oid(content: bytes) -> str:
    """The id that git gives to a file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


class Refused(Exception):  # noqa: N818 - an answer, not an error of the server
    """An answer that is no success.

    Attributes:
        status: Its HTTP status.
        code: What the client's exceptions go by.
    """

    def __init__(self, status: int, message: str, code: str = "") -> None:
        super().__init__(message)
        self.status, self.code = status, code


@dataclass
class Repo:
    """A repository: what each commit holds, and where its branches and pull requests stand."""

    private: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    refs: dict[str, str] = field(default_factory=dict)
    large: set[str] = field(default_factory=set)

    def commit(self, ref: str, files: dict[str, bytes], message: str) -> str:
        """Put a new commit behind a reference; returns its id."""
        held = sorted((path, git_oid(content)) for path, content in files.items())
        seed = json.dumps([len(self.commits), ref, message, held])
        oid = hashlib.sha1(seed.encode(), usedforsecurity=False).hexdigest()
        self.commits[oid], self.refs[ref] = files, oid
        self.messages.append(message)
        return oid

    def find(self, revision: str) -> str:
        """Id of the commit that a branch, a pull request or an id names."""
        oid = self.refs.get(revision, revision)
        if oid not in self.commits:
            raise Refused(404, f"Invalid rev id: {revision}", NOT_FOUND["revision"])
        return oid

    def files(self, revision: str = "main") -> dict[str, bytes]:
        """What a reader of this revision sees."""
        return self.commits[self.find(revision)]


@dataclass
class LoopbackHub:
    """What the Hub holds and what it was asked.

    Attributes:
        repos: Repositories by `model/NAME` or `dataset/NAME`.
        objects: Large files by their SHA-256, whether a commit names them or not.
        faults: A pattern of `METHOD path` and what answers it: a status, `CUT` or `HALF` always; a list of these one
            after the other, None where nothing goes wrong, and at its end all is well.
        seen: `METHOD path` of every request.
    """

    url: str = ""
    repos: dict[str, Repo] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, int | Sequence[int | None]] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)

    def repo(self, name: str, kind: str = "model") -> Repo:
        """The repository of this name."""
        if f"{kind}/{name}" not in self.repos:
            raise Refused(404, "Repository Not Found", NOT_FOUND["repo"])
        return self.repos[f"{kind}/{name}"]

    def fault(self, request: str) -> int | None:
        """What is planned to go wrong with a request."""
        for pattern, planned in self.faults.items():
            if re.search(pattern, request):
                if isinstance(planned, int):
                    return planned
                first, self.faults[pattern] = next(iter(planned), None), planned[1:]
                return first
        return None
