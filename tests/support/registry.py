"""A stand-in for a Confluent schema registry: the requests that serializers and Rollcall make, and scripted faults."""

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Registry:
    """with Registry() as registry: registry.url.

    register(subject, schema) gives the id, as POST /subjects/SUBJECT/versions does (the same schema keeps its id).
    `requests` lists what was asked, ("GET", "/schemas/ids/1"). fail(503, times=2) answers the next two requests with it;
    lose(2) has it answer no question after schema 2 until find(2); `delay` seconds are waited before each answer.
    """

    def __init__(self):
        self.schemas = {}  # id: schema text
        self.subjects = {}  # subject: [id, …], version n at n - 1
        self.requests = []
        self.delay = 0.0
        self._faults = []
        self._lost = set()
        self._lock = threading.Lock()
        self._server = None
        self._wake = threading.Event()

    def __enter__(self):
        registry = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                self._answer("GET", None)

            def do_POST(self):
                self._answer("POST", self.rfile.read(int(self.headers.get("Content-Length") or 0)))

            def _answer(self, method, body):
                status, value = registry._answer(method, self.path, body)
                raw = json.dumps(value).encode()
                try:
                    self.send_response(status)
                    self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
                    self.send_header("Content-Length", str(len(raw)))
                    self.end_headers()
                    self.wfile.write(raw)
                except ConnectionError:
                    pass  # whoever asked has gone

            def log_message(self, *_):
                pass

        self._wake.clear()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self._wake.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self):
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def register(self, subject, schema):
        text = schema if isinstance(schema, str) else json.dumps(schema)
        with self._lock:
            number = next((n for n, known in self.schemas.items() if json.loads(known) == json.loads(text)), None)
            if number is None:
                number = len(self.schemas) + 1
                self.schemas[number] = text
            versions = self.subjects.setdefault(subject, [])
            if number not in versions:
                versions.append(number)
            return number

    def fail(self, status, times=1):
        with self._lock:
            self._faults += [status] * times

    def lose(self, number):
        with self._lock:
            self._lost.add(f"/schemas/ids/{number}")

    def find(self, number):
        with self._lock:
            self._lost.discard(f"/schemas/ids/{number}")

    def _answer(self, method, path, body):
        if self.delay:
            self._wake.wait(self.delay)
        with self._lock:
            self.requests.append((method, path))
            if self._faults or path.split("?")[0] in self._lost:
                return self._faults.pop(0) if self._faults else 503, {"error_code": 50001, "message": "a fault of the test"}
        path = path.split("?")[0]
        if method == "POST" and (match := re.fullmatch(r"/subjects/([^/]+)/versions", path)):
            try:
                return 200, {"id": self.register(match[1], json.loads(body)["schema"])}
            except (ValueError, KeyError, TypeError):
                return 422, {"error_code": 42201, "message": "Invalid schema"}
        if method == "GET" and (match := re.fullmatch(r"/schemas/ids/(\d+)", path)):
            if int(match[1]) in self.schemas:
                return 200, {"schema": self.schemas[int(match[1])]}
            return 404, {"error_code": 40403, "message": "Schema not found"}
        if method == "GET" and path == "/subjects":
            return 200, sorted(self.subjects)
        if method == "GET" and (match := re.fullmatch(r"/subjects/([^/]+)/versions/(latest|\d+)", path)):
            versions = self.subjects.get(match[1])
            if not versions:
                return 404, {"error_code": 40401, "message": "Subject not found"}
            version = len(versions) if match[2] == "latest" else int(match[2])
            if not 1 <= version <= len(versions):
                return 404, {"error_code": 40402, "message": "Version not found"}
            number = versions[version - 1]
            return 200, {"subject": match[1], "version": version, "id": number, "schema": self.schemas[number]}
        return 404, {"error_code": 404, "message": "HTTP 404 Not Found"}
