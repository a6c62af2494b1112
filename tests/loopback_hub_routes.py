"""What the Hub on this machine answers: create, upload, commit, list, resolve, as the real client asks for them."""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

from .loopback_hub import NOT_FOUND, TOKEN, LoopbackHub, Refused, Repo, git_oid


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
    repo = hub.repo(request.parts["name"], request.parts["kind"])
    files = repo.files(request.parts["revision"])
    folder = (request.parts["folder"] or "").strip("/")
    if folder and not any(path.startswith(f"{folder}/") for path in files):
        raise Refused(404, f"{folder} does not exist", NOT_FOUND["entry"])
    below = f"{folder}/" if folder else ""
    entries = (entry for entry in listing(repo, files) if entry["path"].startswith(below))
    if "recursive=true" in request.query.lower():
        return list(entries)
    return [entry for entry in entries if "/" not in entry["path"].removeprefix(below)]


@route(rf"POST {API}/paths-info/(?P<revision>[^/]+)")
def paths_info(hub: LoopbackHub, request: Request) -> list[Any]:
    repo = hub.repo(request.parts["name"], request.parts["kind"])
    asked = parse_qs(request.body.decode())["paths"]
    return [entry for entry in listing(repo, repo.files(request.parts["revision"])) if entry["path"] in asked]


def listing(repo: Repo, files: dict[str, bytes]) -> list[dict[str, Any]]:
    """Every folder and file as the Hub describes them."""
    folders = {str(folder) for path in files for folder in PurePosixPath(path).parents} - {"."}
    entries: list[dict[str, Any]] = [{"type": "directory", "path": path, "oid": "0" * 40} for path in sorted(folders)]
    for path, content in files.items():
        entry = {"type": "file", "path": path, "size": len(content), "oid": git_oid(content)}
        if path in repo.large:
            sha = hashlib.sha256(content).hexdigest()
            entry["lfs"] = {"oid": sha, "size": len(content), "pointerSize": 134}
        entries.append(entry)
    return entries


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


def is_large(path: str, sample: bytes) -> bool:
    """Whether the Hub stores this file apart from git."""
    return path.endswith((".safetensors", ".parquet")) or b"\0" in sample


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
        writes = method == "POST" and not re.search("validate-yaml|/paths-info/", target)
        if token != TOKEN and (writes or private):
            raise Refused(401, "Invalid username or password.", NOT_FOUND["repo"] if private else "")  # noqa: TRY301
        given = function(hub, Request(split.path, split.query, body, parts))
    except Refused as refused:
        headers = {"X-Error-Message": str(refused)} | ({"X-Error-Code": refused.code} if refused.code else {})
        return Answer(json.dumps({"error": str(refused)}).encode(), refused.status, headers)
    if isinstance(given, Answer):
        return given
    return Answer(json.dumps(given).encode(), headers={"Content-Type": "application/json"})
