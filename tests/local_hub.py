"""A Hub on this machine: what pushes and downloads of models need of its API, with faults to order.

    with LocalHub({TOKEN: "tester"}) as hub:
        ...  # HF_ENDPOINT=hub.url, set before huggingface_hub is imported

As the real one it takes no card whose metadata name a model or a data set by a path, hides private repositories from
others, and keeps every commit. All files are uploaded inside the commit, so neither LFS nor Xet is needed.
"""

import base64
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import yaml


TOKEN = "hf_SECRETsecretSECRETsecretSECRETsecret00"


HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")


@dataclass
class Repository:
    """`commits` are title and files, path to content, oldest first."""

    private: bool
    commits: list = field(default_factory=list)

    @property
    def files(self):
        return self.commits[-1][1] if self.commits else {}

    @property
    def head(self):
        return hashlib.sha1(f"commit {len(self.commits)}".encode()).hexdigest()


@dataclass
class Fault:
    """Answers of an error's `status` to the next `times` requests whose method and path match `pattern`."""

    pattern: str
    status: int
    times: int = 10**9


class LocalHub:
    """
    Args:
        users (`dict[str, str]`):
            Token to the namespace that it may write.
    """

    def __init__(self, users):
        self.users = users
        self.repositories = {}
        self.calls = []  # method and path
        self.faults = []
        self.open = threading.Event()  # while it is not set, commits wait
        self.open.set()
        self.arrived = threading.Event()  # a commit has been sent, and may wait
        self.lock = threading.RLock()
        self.port = 0
        self.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        """Listen, at the same port as before."""
        handler = type("Handler", (Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self):
        """Be out of reach: connections are refused."""
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.stop()


class Handler(BaseHTTPRequestHandler):
    """One request."""

    hub: LocalHub

    def log_message(self, *args):
        pass

    def answer(self, status, body=b"", **headers):
        content = json.dumps(body).encode() if isinstance(body, dict | list) else body
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def refuse(self, status, message, code=None):
        self.answer(status, {"error": message}, **({"X_Error_Code": code, "X_Error_Message": message} if code else {}))

    @property
    def user(self):
        return self.hub.users.get(self.headers.get("Authorization", "").removeprefix("Bearer "))

    def serve(self):
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(urlsplit(self.path).path)
        request = f"{self.command} {path}"
        if "/commit/" in path:
            self.hub.arrived.set()
            self.hub.open.wait()
        with self.hub.lock:
            self.hub.calls.append(request)
            for fault in self.hub.faults:
                if fault.times > 0 and re.search(fault.pattern, request):
                    fault.times -= 1
                    return self.refuse(fault.status, "out of order")
            for pattern, route in ROUTES:
                if (match := re.fullmatch(pattern, request)) is not None:
                    return route(self, *match.groups())
        return self.refuse(404, f"no route for {request}")

    do_GET = do_POST = do_HEAD = serve

    def visible(self, name):
        """The repository, or `None` after the answer that it is not there for this user."""
        found = self.hub.repositories.get(name)
        if found is None or (found.private and self.user != name.split("/")[0]):
            return self.refuse(404 if self.user else 401, "Repository not found", "RepoNotFound")
        return found

    # --- routes ------------------------------------------------------------------------------------------------------

    def create(self):
        asked = json.loads(self.body)
        namespace = asked.get("organization") or self.user
        if self.user is None:
            return self.refuse(401, "Invalid username or password.")
        if namespace != self.user:
            return self.refuse(403, f"You don't have the rights to create a model under the namespace {namespace!r}")
        name = f"{namespace}/{asked['name']}"
        if name in self.hub.repositories:
            return self.answer(409, {"error": "You already created this model repo", "url": f"{self.hub.url}/{name}"})
        self.hub.repositories[name] = Repository(asked.get("visibility") == "private")
        return self.answer(200, {"url": f"{self.hub.url}/{name}", "name": name})

    def check(self, name):
        if self.visible(name) is None:
            return None
        if self.user != name.split("/")[0]:
            return self.refuse(403, "You don't have write access to this repo")
        return self.answer(200, {})

    def describe(self, name):
        repository = self.visible(name)
        if repository is None:
            return None
        files = [{"rfilename": path} for path in repository.files]
        return self.answer(
            200, {"id": name, "private": repository.private, "sha": repository.head, "tags": [], "siblings": files}
        )

    def list_files(self, name):
        repository = self.visible(name)
        if repository is None:
            return None
        return self.answer(
            200,
            [
                {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                for path, content in repository.files.items()
            ],
        )

    def validate_card(self):
        content = json.loads(self.body)["content"]
        data = yaml.safe_load(content.split("---")[1])
        for field_name in ("base_model", "datasets"):
            values = data.get(field_name) or []
            for value in values if isinstance(values, list) else [values]:
                if not HUB_ID.fullmatch(value):
                    message = f'"{field_name}" with value "{value}" is not valid.'
                    return self.answer(400, {"error": message, "errors": [{"message": message}]})
        return self.answer(200, {"errors": [], "warnings": []})

    def ask_modes(self, name):
        if self.user != name.split("/")[0]:
            return self.refuse(403, "Forbidden")
        files = [file["path"] for file in json.loads(self.body)["files"]]
        return self.answer(
            200, {"files": [{"path": path, "uploadMode": "regular", "shouldIgnore": False} for path in files]}
        )

    def commit(self, name):
        if self.user != name.split("/")[0]:
            return self.refuse(403, "Forbidden")
        operations = [json.loads(line) for line in self.body.splitlines()]
        (title,) = [entry["value"]["summary"] for entry in operations if entry["key"] == "header"]
        added = [entry["value"] for entry in operations if entry["key"] == "file"]
        repository = self.hub.repositories[name]
        content = {file["path"]: base64.b64decode(file["content"]) for file in added}
        repository.commits.append((title, {**repository.files, **content}))
        url = f"{self.hub.url}/{name}/commit/{repository.head}"
        return self.answer(200, {"commitUrl": url, "commitOid": repository.head})

    def download(self, name, path):
        repository = self.visible(name)
        if repository is None:
            return None
        if path not in repository.files:
            return self.refuse(404, "Entry not found", "EntryNotFound")
        content = repository.files[path]
        etag = f'"{hashlib.sha1(content).hexdigest()}"'
        return self.answer(200, content, ETag=etag, X_Repo_Commit=repository.head)


NAME = r"([\w.-]+/[\w.-]+)"
ROUTES = [
    (r"POST /api/repos/create", Handler.create),
    (r"POST /api/validate-yaml", Handler.validate_card),
    (rf"POST /api/models/{NAME}/preupload/main", Handler.ask_modes),
    (rf"POST /api/models/{NAME}/commit/main", Handler.commit),
    (rf"GET /api/models/{NAME}/auth-check/write", Handler.check),
    (rf"GET /api/models/{NAME}/tree/\w+", Handler.list_files),
    (rf"GET /api/models/{NAME}(?:/revision/\w+)?", Handler.describe),
    (rf"(?:GET|HEAD) /{NAME}/resolve/\w+/(.+)", Handler.download),
]
