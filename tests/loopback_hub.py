"""A Hub on this machine that speaks enough of the protocol for the real client: create, upload, commit, resolve.

A repository is a history of commits; a commit holds whole files, so a reader of any revision sees all of a push or
nothing of it. Faults are planned by the test: a status or a cut connection in place of an answer.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

TOKEN = "hf_loopback"  # noqa: S105 - the only token that this Hub knows
CUT = 0  # in place of a status: the connection ends in the middle of the request
NOT_FOUND = {"repo": "RepoNotFound", "revision": "RevisionNotFound", "entry": "EntryNotFound"}


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
        seed = json.dumps([len(self.commits), ref, message, sorted(files)])
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
        faults: A pattern of `METHOD path` and the status (or `CUT`) that answers it, always.
        seen: `METHOD path` of every request.
    """

    url: str = ""
    repos: dict[str, Repo] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)

    def repo(self, name: str, kind: str = "model") -> Repo:
        """The repository of this name."""
        if f"{kind}/{name}" not in self.repos:
            raise Refused(404, "Repository Not Found", NOT_FOUND["repo"])
        return self.repos[f"{kind}/{name}"]

    def fault(self, request: str) -> int | None:
        """What is planned to go wrong with a request."""
        return next((status for pattern, status in self.faults.items() if re.search(pattern, request)), None)


def git_oid(content: bytes) -> str:
    """The id that git gives to a file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def is_large(path: str, sample: bytes) -> bool:
    """Whether the Hub stores this file apart from git."""
    return path.endswith(".safetensors") or b"\0" in sample


@dataclass
class Request:
    """One request: its path, the parts of it that the route names, and its body."""

    path: str
    query: str
    body: bytes
    parts: dict[str, str]

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass
class Answer:
    """One answer."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


REPO = r"(?P<name>[\w.-]+/[\w.-]+)"
API = rf"/api/(?P<kind>model|dataset)s/{REPO}"
Route = Callable[[LoopbackHub, Request], Answer | dict[str, Any] | list[Any]]
ROUTES: list[tuple[re.Pattern[str], Route]] = []


def route(pattern: str) -> Callable[[Route], Route]:
    """Answer requests whose `METHOD path` is this pattern with the function."""

    def register(function: Route) -> Route:
        ROUTES.append((re.compile(pattern), function))
        return function

    return register


@route(r"POST /api/repos/create")
def create_repo(hub: LoopbackHub, request: Request) -> Answer | dict[str, Any]:
    asked = request.json
    name = f"{asked['organization']}/{asked['name']}"
    kind = asked.get("type") or "model"
    answer = {"url": f"{hub.url}/{'datasets/' if kind == 'dataset' else ''}{name}"}
    if f"{kind}/{name}" in hub.repos:
        return Answer(json.dumps(answer | {"error": "You already created this repository"}).encode(), 409)
    repo = hub.repos[f"{kind}/{name}"] = Repo(private=asked.get("visibility") == "private")
    repo.commit("main", {".gitattributes": b""}, "initial commit")
    return answer


@route(r"POST /api/validate-yaml")
def validate_yaml(hub: LoopbackHub, request: Request) -> dict[str, Any]:
    del hub
    found = re.match(r"---\n(.*?)\n---\n", request.json["content"], re.DOTALL)
    if not found or not yaml.safe_load(found[1]).get("license"):
        raise Refused(400, "a card begins with YAML that names a license")
    return {"warnings": [], "errors": []}


@route(rf"POST {API}/preupload/(?P<revision>[^/]+)")
def preupload(hub: LoopbackHub, request: Request) -> dict[str, Any]:
    repo = hub.repo(request.parts["name"], request.parts["kind"])
    held = repo.files(request.parts["revision"])
    answers = []
    for file in request.json["files"]:
        path = file["path"]
        large = is_large(path, base64.b64decode(file["sample"]))
        oid = (hashlib.sha256(held[path]).hexdigest() if large else git_oid(held[path])) if path in held else None
        mode = "lfs" if large else "regular"
        answers.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
    return {"files": answers}


@route(rf"POST /(?:datasets/)?{REPO}\.git/info/lfs/objects/batch")
def lfs_batch(hub: LoopbackHub, request: Request) -> dict[str, Any]:
    objects = []
    for wanted in request.json["objects"]:
        answer = {"oid": wanted["oid"], "size": wanted["size"]}
        if wanted["oid"] not in hub.objects:
            answer["actions"] = {"upload": {"href": f"{hub.url}/lfs/{wanted['oid']}"}}
        objects.append(answer)
    return {"transfer": "basic", "objects": objects}


@route(r"PUT /lfs/(?P<oid>[0-9a-f]{64})")
def lfs_upload(hub: LoopbackHub, request: Request) -> Answer:
    if hashlib.sha256(request.body).hexdigest() != request.parts["oid"]:
        raise Refused(400, "the content is not what was announced")
    hub.objects[request.parts["oid"]] = request.body
    return Answer()


@route(r"(GET|HEAD) /lfs/(?P<oid>[0-9a-f]{64})")
def lfs_download(hub: LoopbackHub, request: Request) -> Answer:
    return Answer(hub.objects[request.parts["oid"]], headers={"ETag": f'"{request.parts["oid"]}"'})


@route(rf"POST {API}/branch/(?P<branch>[^/]+)")
def create_branch(hub: LoopbackHub, request: Request) -> dict[str, Any]:
    repo = hub.repo(request.parts["name"], request.parts["kind"])
    if request.parts["branch"] in repo.refs:
        raise Refused(409, "this branch exists")
    repo.refs[request.parts["branch"]] = repo.refs["main"]
    return {}


@route(rf"POST {API}/commit/(?P<revision>[^/]+)")
def commit(hub: LoopbackHub, request: Request) -> dict[str, Any]:
    name = request.parts["name"]
    repo = hub.repo(name, request.parts["kind"])
    ref = request.parts["revision"]
    files, message, large = dict(repo.files(ref)), "", set()
    for line in request.body.splitlines():
        operation = json.loads(line)
        value = operation["value"]
        if operation["key"] == "header":
            message = value["summary"]
            if value.get("parentCommit", repo.refs.get(ref)) != repo.refs.get(ref):
                raise Refused(412, "the branch has moved on")
        elif operation["key"] == "file":
            files[value["path"]] = base64.b64decode(value["content"])
        elif operation["key"] == "lfsFile":
            files[value["path"]] = hub.objects[value["oid"]]
            large.add(value["path"])
        else:
            raise Refused(400, f"this Hub does not know {operation['key']}")
    repo.large |= large
    answer = {"commitUrl": f"{hub.url}/{name}/commit/x", "success": True}
    if "create_pr=1" in request.query:
        number = 1 + sum(name.startswith("refs/pr/") for name in repo.refs)
        answer["commitOid"] = repo.commit(f"refs/pr/{number}", files, message)
        answer["pullRequestUrl"] = f"{hub.url}/{name}/discussions/{number}"
    else:
        answer["commitOid"] = repo.commit(ref, files, message)
    return answer | {"commitUrl": f"{hub.url}/{name}/commit/{answer['commitOid']}"}


@route(rf"GET {API}(?:/revision/(?P<revision>[^/]+))?")
def repo_info(hub: LoopbackHub, request: Request) -> dict[str, Any]:
    name = request.parts["name"]
    repo = hub.repo(name, request.parts["kind"])
    oid = repo.find(request.parts["revision"] or "main")
    return {
        "id": name,
        "sha": oid,
        "private": repo.private,
        "gated": False,
        "disabled": False,
        "tags": [],
        "siblings": [{"rfilename": path} for path in repo.commits[oid]],
    }


@route(rf"GET {API}/tree/(?P<revision>[^/]+)(?P<folder>/.*)?")
def tree(hub: LoopbackHub, request: Request) -> list[Any]:
    files = hub.repo(request.parts["name"], request.parts["kind"]).files(request.parts["revision"])
    folder = (request.parts["folder"] or "").strip("/")
    if folder and not any(path.startswith(f"{folder}/") for path in files):
        raise Refused(404, f"{folder} does not exist", NOT_FOUND["entry"])
    return [
        {"type": "file", "path": path, "size": len(content), "oid": git_oid(content)}
        for path, content in files.items()
        if path.startswith(folder)
    ]


@route(rf"(GET|HEAD) /(?P<kind>datasets/)?{REPO}/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
def resolve(hub: LoopbackHub, request: Request) -> Answer:
    repo = hub.repo(request.parts["name"], "dataset" if request.parts["kind"] else "model")
    oid = repo.find(request.parts["revision"])
    headers = {"X-Repo-Commit": oid}
    path = request.parts["path"]
    if path not in repo.commits[oid]:
        return Answer(b"Entry not found", 404, headers | {"X-Error-Code": NOT_FOUND["entry"]})
    content = repo.commits[oid][path]
    if path not in repo.large:
        return Answer(content, headers=headers | {"ETag": f'"{git_oid(content)}"'})
    sha = hashlib.sha256(content).hexdigest()
    elsewhere = hub.url.replace("127.0.0.1", "localhost")  # as the real Hub, whose large files another host serves
    linked = {"X-Linked-Etag": f'"{sha}"', "X-Linked-Size": str(len(content)), "Location": f"{elsewhere}/lfs/{sha}"}
    return Answer(b"", 302, headers | linked)


def answer_request(hub: LoopbackHub, method: str, target: str, body: bytes, token: str) -> Answer:
    """What the Hub says: to a stranger, private repositories do not exist and nothing may be written."""
    split = urlsplit(target)
    asked = f"{method} {split.path}"
    found = next(((match, function) for pattern, function in ROUTES if (match := pattern.fullmatch(asked))), None)
    try:
        if found is None:
            raise Refused(404, f"this Hub does not know {asked}")  # noqa: TRY301 - one place makes answers of refusals
        match, function = found
        parts = {key: unquote(value) if value else "" for key, value in match.groupdict().items()}
        private = any(repo.private and name.split("/", 1)[1] in target for name, repo in hub.repos.items())
        writes = method == "POST" and "validate-yaml" not in target
        if token != TOKEN and (writes or private):
            raise Refused(401, "Invalid username or password.", NOT_FOUND["repo"] if private else "")  # noqa: TRY301
        given = function(hub, Request(split.path, split.query, body, parts))
    except Refused as refused:
        headers = {"X-Error-Message": str(refused)} | ({"X-Error-Code": refused.code} if refused.code else {})
        return Answer(json.dumps({"error": str(refused)}).encode(), refused.status, headers)
    if isinstance(given, Answer):
        return given
    return Answer(json.dumps(given).encode(), headers={"Content-Type": "application/json"})


@contextmanager
def serve_hub() -> Iterator[LoopbackHub]:
    """An empty Hub on a free port, until the block ends."""
    hub = LoopbackHub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            """Says nothing."""

        def read_body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            chunks = []
            while size := int(self.rfile.readline(), 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)

        def answer(self) -> None:
            asked = f"{self.command} {self.path}"
            hub.seen.append(asked)
            fault = hub.fault(asked)
            if fault == CUT:
                self.close_connection = True
                return
            body = self.read_body()
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            answer = (
                Answer(b'{"error": "planned"}', fault)
                if fault
                else answer_request(hub, self.command, self.path, body, token)
            )
            self.send_response(answer.status)
            for name, value in ({"Content-Length": str(len(answer.body))} | answer.headers).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

        do_GET = do_HEAD = do_POST = do_PUT = answer  # noqa: N815 - names that the base class looks for

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
