"""A small hub on the loopback address: as much of the protocol as down- and uploads need."""

import base64
import hashlib
import json
import sys
import threading
from contextlib import contextmanager
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Repository:
    """A folder served as one model repository, with one commit on `main` and named branches."""

    def __init__(self, folder, *, revisions=("main",), gated=False):
        self.folder = Path(folder)
        self.revisions = revisions
        self.gated = gated

    @cached_property
    def files(self):
        found = sorted(file for file in self.folder.rglob("*") if file.is_file())
        return {file.relative_to(self.folder).as_posix(): file.read_bytes() for file in found}

    def commit_files(self, lines):
        """Do what a commit says; the files are those of its regular operations."""
        for line in lines:
            if line["key"] == "file":
                file = self.folder / line["value"]["path"]
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(base64.b64decode(line["value"]["content"]))
            elif line["key"] == "deletedFile":
                (self.folder / line["value"]["path"]).unlink()
        for name in ("files", "commit"):
            vars(self).pop(name, None)

    @cached_property
    def commit(self):
        return hashlib.sha1(b"".join(self.files.values())).hexdigest()

    def tree(self):
        return [
            {
                "type": "file",
                "path": name,
                "size": len(data),
                "oid": hashlib.sha1(data).hexdigest(),
            }
            for name, data in self.files.items()
        ]

    def info(self, name):
        siblings = [{"rfilename": file} for file in self.files]
        return {"id": name, "modelId": name, "sha": self.commit, "siblings": siblings}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = unquote(urlsplit(self.path).path).strip("/")
        self.server.log.append(f"{self.command} {path}")
        if path.startswith("api/models/"):
            self._api(path.removeprefix("api/models/"))
        elif "/resolve/" in path:
            name, _, rest = path.partition("/resolve/")
            self._file(name, *rest.split("/", 1))
        else:
            self._refuse(404, "RepoNotFound", "no such page")

    def do_POST(self):
        path = unquote(urlsplit(self.path).path).strip("/")
        self.server.log.append(f"{self.command} {path}")
        body = self._body()
        if not self.headers.get("Authorization"):
            return self._refuse(401, "", "Invalid username or password.")
        if path == "api/repos/create":
            return self._created(json.loads(body))
        if path == "api/validate-yaml":
            return self._json({"errors": [], "warnings": []})
        name, _, rest = path.removeprefix("api/models/").partition("/preupload/")
        if rest:
            modes = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False}
                for f in json.loads(body)["files"]
            ]
            return self._json({"files": modes})
        name, _, rest = path.removeprefix("api/models/").partition("/commit/")
        repository = self.server.repositories[name]
        repository.commit_files([json.loads(line) for line in body.splitlines()])
        url = f"{self.server.endpoint}/{name}/commit/{repository.commit}"
        return self._json({"success": True, "commitOid": repository.commit, "commitUrl": url})

    def _body(self):
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _created(self, asked):
        name = "/".join(filter(None, (asked.get("organization"), asked["name"])))
        place = self.server.uploads / name
        place.mkdir(parents=True, exist_ok=True)
        repository = self.server.repositories.setdefault(name, Repository(place))
        repository.private = asked.get("private") or asked.get("visibility") == "private"
        self._json({"url": f"{self.server.endpoint}/{name}", "name": name, "id": name})

    def _json(self, value):
        self._send(json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _api(self, path):
        name = next((n for n in self.server.repositories if f"{path}/".startswith(f"{n}/")), None)
        if name is None:
            return self._refuse(404, "RepoNotFound", "Repository Not Found")
        kind, _, revision = path.removeprefix(name).strip("/").partition("/")
        repository = self._reachable(name, revision.split("/")[0] or "main")
        if repository is None:
            return None
        value = repository.tree() if kind == "tree" else repository.info(name)
        return self._send(json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _file(self, name, revision, file):
        repository = self._reachable(name, revision)
        if repository is None:
            return None
        data = repository.files.get(file)
        if data is None:
            return self._refuse(404, "EntryNotFound", "Entry not found")
        etag = hashlib.sha1(data).hexdigest()
        return self._send(data, {"ETag": f'"{etag}"', "X-Repo-Commit": repository.commit})

    def _reachable(self, name, revision):
        repository = self.server.repositories.get(name)
        if repository is None:
            return self._refuse(404, "RepoNotFound", "Repository Not Found")
        if repository.gated and not self.headers.get("Authorization"):
            return self._refuse(401, "GatedRepo", "Access to this model is restricted")
        if revision not in (*repository.revisions, repository.commit):
            return self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return repository

    def _refuse(self, status, code, message):
        self._send(b"", {"X-Error-Code": code, "X-Error-Message": message}, status)

    def _send(self, data, headers, status=200):
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(data))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *args):
        """Nothing on stderr."""


@contextmanager
def serving(repositories, uploads=None):
    """Serve `{"gpt2": Repository(folder)}`; yields the server, with its `endpoint` and `log`.

    New repositories are folders in `uploads`.
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.repositories, server.log, server.uploads = dict(repositories), [], uploads
    server.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


if __name__ == "__main__":  # python tests/hub.py FOLDER NAME, until interrupted
    with serving({sys.argv[2]: Repository(sys.argv[1])}) as hub:
        print(hub.endpoint, flush=True)
        threading.Event().wait()
