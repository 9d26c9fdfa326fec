"""A small Hugging Face hub on loopback: as much of its HTTP interface as an adapter needs to get there and back.

Repositories hold branches, branches a commit, commits files by path. Writing needs the token; so does reading what is
private. What was asked is kept in `requests`.
"""

import base64
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import huggingface_hub
import yaml
from huggingface_hub import constants

TOKEN = "hf_of_these_tests"


@dataclass
class Repository:
    private: bool
    branches: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def commit(self, branch: str, files: dict[str, bytes]) -> str:
        whole = {**self.commits.get(self.branches.get(branch, ""), {}), **files}
        sha = hashlib.sha1(repr((len(self.commits), sorted(whole.items()))).encode()).hexdigest()
        self.branches[branch], self.commits[sha] = sha, whole
        return sha


class FakeHub:
    """Serves from a thread, until `close`."""

    def __init__(self, large_files: bool = False):
        self.repositories: dict[str, Repository] = {}
        self.large: dict[str, bytes] = {}
        self.large_files = large_files
        self.breaks_off = False
        self.requests: list[tuple[str, str]] = []
        self.created: list[dict] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()

    def files(self, repo_id: str, branch: str = "main") -> dict[str, bytes]:
        repository = self.repositories[repo_id]
        return repository.commits[repository.branches[branch]]

    def close(self) -> None:
        huggingface_hub.close_session()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def start(hub, tmp_path, monkeypatch):
    """Points huggingface_hub, which read its environment when it was imported, at `hub` and at an empty cache."""
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(huggingface_hub.hf_api.api, "endpoint", hub.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no token"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    huggingface_hub.close_session()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: FakeHub
    ROUTES = (
        ("POST", r"/api/repos/create", "create"),
        ("POST", r"/api/validate-yaml", "validate_card"),
        ("POST", r"/api/models/(\w+/[\w.-]+)/preupload/([^/]+)", "preupload"),
        ("POST", r"/api/models/(\w+/[\w.-]+)/branch/([^/]+)", "branch"),
        ("POST", r"/api/models/(\w+/[\w.-]+)/commit/([^/]+)", "commit"),
        ("POST", r"/(\w+/[\w.-]+)\.git/info/lfs/objects/batch", "large_batch"),
        ("PUT", r"/large/(\w+)", "large_upload"),
        ("GET", r"/api/models/(\w+/[\w.-]+)(?:/revision/([^/]+))?", "info"),
        ("GET", r"/api/models/(\w+/[\w.-]+)/tree/([^/]+)", "tree"),
        ("GET", r"/(\w+/[\w.-]+)/resolve/([^/]+)/(.+)", "resolve"),
        ("HEAD", r"/(\w+/[\w.-]+)/resolve/([^/]+)/(.+)", "resolve"),
    )

    def handle_request(self):
        path = urlsplit(self.path).path
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.hub.requests.append((self.command, path))
        for method, pattern, name in self.ROUTES:
            found = re.fullmatch(pattern, path)
            if method == self.command and found:
                if method == "POST" and not self.authorised:
                    return self.answer({"error": "Invalid username or password."}, 401)
                return getattr(self, name)(*(part and unquote(part) for part in found.groups()))
        return self.answer({"error": f"no such route: {self.command} {path}"}, 404)

    do_GET = do_POST = do_PUT = do_HEAD = handle_request  # noqa: N815

    @property
    def authorised(self):
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def answer(self, content, status=200, **headers):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "HEAD":
            return
        broken = self.hub.breaks_off and "/resolve/" in self.path
        self.wfile.write(data[: len(data) // 2] if broken else data)
        self.close_connection |= broken

    def refuse(self, code):
        self.answer({"error": code}, 404, X_Error_Code=code)

    def found(self, repo_id, revision):
        """The repository and the commit of a revision; refuses and gives None where there is no such thing."""
        repository = self.hub.repositories.get(repo_id)
        if repository is None or (repository.private and not self.authorised):
            return self.refuse("RepoNotFound")
        sha = repository.branches.get(revision, revision)
        return (repository, sha) if sha in repository.commits else self.refuse("RevisionNotFound")

    def create(self):
        asked = json.loads(self.body)
        self.hub.created.append(asked)
        repo_id = f"{asked['organization'] or 'me'}/{asked['name']}"
        known = repo_id in self.hub.repositories
        if not known:
            private = asked.get("visibility") == "private" or asked.get("private", False)
            self.hub.repositories[repo_id] = Repository(private)
            self.hub.repositories[repo_id].commit("main", {".gitattributes": b""})
        self.answer({"url": f"{self.hub.url}/{repo_id}"}, 409 if known else 200)

    def validate_card(self):
        front_matter = json.loads(self.body)["content"].split("---")[1]
        try:
            yaml.safe_load(front_matter)
        except yaml.YAMLError as error:
            return self.answer({"errors": [{"message": str(error)}]}, 400)
        return self.answer({})

    def preupload(self, repo_id, revision):
        if self.found(repo_id, revision):
            files = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs"
                    if self.hub.large_files and file["path"].endswith(".safetensors")
                    else "regular",
                    "shouldIgnore": False,
                }
                for file in json.loads(self.body)["files"]
            ]
            self.answer({"files": files})

    def branch(self, repo_id, name):
        repository, sha = self.found(repo_id, "main")
        known = name in repository.branches
        repository.branches.setdefault(name, sha)
        self.answer({}, 409 if known else 200)

    def large_batch(self, repo_id):
        objects = [
            {**item, "actions": {"upload": {"href": f"{self.hub.url}/large/{item['oid']}"}}}
            for item in json.loads(self.body)["objects"]
        ]
        self.answer({"transfer": "basic", "objects": objects})

    def large_upload(self, oid):
        assert hashlib.sha256(self.body).hexdigest() == oid
        self.hub.large[oid] = self.body
        self.answer({})

    def commit(self, repo_id, revision):
        if not (found := self.found(repo_id, revision)):
            return
        files = {}
        for line in self.body.splitlines():
            value = json.loads(line)["value"]
            if "content" in value:
                files[value["path"]] = base64.b64decode(value["content"])
            elif "oid" in value:
                files[value["path"]] = self.hub.large[value["oid"]]
        sha = found[0].commit(revision, files)
        self.answer({"commitUrl": f"{self.hub.url}/{repo_id}/commit/{sha}", "commitOid": sha})

    def info(self, repo_id, revision):
        if found := self.found(repo_id, revision or "main"):
            repository, sha = found
            siblings = [{"rfilename": path} for path in repository.commits[sha]]
            self.answer({"id": repo_id, "sha": sha, "private": repository.private, "siblings": siblings})

    def tree(self, repo_id, revision):
        if found := self.found(repo_id, revision):
            repository, sha = found
            self.answer(
                [
                    {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                    for path, data in repository.commits[sha].items()
                ]
            )

    def resolve(self, repo_id, revision, path):
        if found := self.found(repo_id, revision):
            repository, sha = found
            data = repository.commits[sha].get(path)
            if data is None:
                return self.refuse("EntryNotFound")
            return self.answer(data, ETag=f'"{hashlib.sha1(data).hexdigest()}"', X_Repo_Commit=sha)

    def log_message(self, *args):
        pass
