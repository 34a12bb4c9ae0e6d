"""An API server of Kubernetes for tests, over HTTP on the loopback interface: a real kubectl applies
manifests to it, and reads them back, as from a cluster.

It refuses what a real one refuses (api_decoding, api_rules), of the kinds of objects that it knows
(api_kinds). What it can not do at all it refuses, too: to delete or watch objects, server-side
apply, dry runs and selectors.
"""
import http.server
import json
import os
import threading
import urllib.parse

from tests.deploy import api_errors
from tests.deploy import api_kinds
from tests.deploy import api_openapi
from tests.deploy import api_store

_JSON = "application/json"
# Which client it is and in which chunks it would like lists changes nothing here.
_PARAMETERS = {"fieldManager", "fieldValidation", "limit", "timeout"}
_OPENAPI_2 = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"


class ApiServer:
    """A cluster of its own, empty but for its namespaces, until close()."""

    def __init__(self, schemas):
        self.store = api_store.Store(schemas)
        self.writes = []  # (method, path) of every request that asks for a change, in order.
        self._schemas = schemas
        self._lock = threading.Lock()
        self._http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Request)
        self._http.api = self
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self):
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    @property
    def address(self):
        return self._http.server_address

    def kubeconfig(self, folder):
        """Writes a file for KUBECONFIG; its path."""
        path = os.path.join(folder, "kubeconfig")
        host, port = self.address
        with open(path, "w", encoding="utf-8") as file:
            json.dump({  # JSON is YAML.
                "apiVersion": "v1", "kind": "Config", "current-context": "test",
                "clusters": [{"name": "test", "cluster": {"server": f"http://{host}:{port}"}}],
                "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
                "users": [{"name": "test", "user": {}}]}, file)
        return path

    def answer(self, method, path, query, content_type, body):
        """The code and the object to answer, in JSON."""
        with self._lock:
            if method != "GET":
                self.writes.append((method, path))
            try:
                return self._answer(method, path, query, content_type, body)
            except api_errors.Refusal as refusal:
                return refusal.code, refusal.status

    def _answer(self, method, path, query, content_type, body):
        found = api_kinds.find(path)
        if not found:
            return 200, self._about(method, path)
        if not set(query) <= _PARAMETERS:
            raise api_errors.bad_request(f"not understood here: {sorted(set(query) - _PARAMETERS)}")
        kind, namespace, name = found
        strictly = query.get("fieldValidation") == "Strict"
        if method == "GET" and name:
            return 200, self.store.get(kind, namespace, name)
        if method == "GET":
            return 200, {"kind": f"{kind.name}List", "apiVersion": kind.api_version,
                         "metadata": {"resourceVersion": self.store.version},
                         "items": self.store.list(kind, namespace)}
        if bool(namespace) == kind.namespaced and method == ("PATCH" if name else "POST"):
            thing = _parsed(body)
            if name:
                return 200, self.store.patch(kind, namespace, name, content_type, thing, strictly)
            return 201, self.store.create(kind, namespace, thing, strictly)
        raise api_errors.not_allowed()

    def _about(self, method, path):
        """What is known of the server and its API."""
        if method != "GET":
            raise api_errors.not_served()
        if path == "version":
            major, minor, _ = self._schemas.version.lstrip("v").split(".")
            return {"major": major, "minor": minor, "gitVersion": self._schemas.version}
        if path == "openapi/v3":
            return api_openapi.root()
        if path.startswith("openapi/v3/") and path[len("openapi/v3/"):] in api_kinds.ROOTS:
            return api_openapi.of_group(path[len("openapi/v3/"):], self._schemas)
        about = api_kinds.discovery(path)
        if about is None:
            raise api_errors.not_served()
        return about


def _parsed(body):
    try:
        return json.loads(body)
    except ValueError as error:
        raise api_errors.bad_request(f"the body is no JSON: {error}") from None


class _Request(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # An answer's end would wait for the client to acknowledge its start.

    def log_message(self, *_):
        """Nothing: what was asked for is in ApiServer.writes."""

    def handle_any(self):
        url = urllib.parse.urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if url.path == "/openapi/v2":
            self._send(200, _OPENAPI_2, api_openapi.version_2())
            return
        code, thing = self.server.api.answer(
            self.command, url.path.strip("/"), dict(urllib.parse.parse_qsl(url.query)),
            self.headers.get("Content-Type", "").partition(";")[0], body)
        self._send(code, _JSON, json.dumps(thing).encode())

    def _send(self, code, content_type, data):
        self.send_response(code)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_DELETE = do_GET = do_PATCH = do_POST = do_PUT = handle_any
