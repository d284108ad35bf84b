"""A Redis server, and as much of a client as tests need."""

import os
import shutil
import signal
import socket

from .basics import ROOT, Child, free_port, make_temp, remove, wait_until


def _server():
    ours = ROOT / "build" / "bin" / "redis-server"
    found = str(ours) if ours.exists() else shutil.which("redis-server")
    if not found:
        raise RuntimeError("no redis-server: run scripts/bootstrap --tests")
    return found


class RedisError(Exception):
    """An error reply of the server."""


class Client:
    """client("SET", "k", "v"); replies as bytes, int, None, list. Connects again by itself after the server was restarted."""

    def __init__(self, port):
        self.port = port
        self._file = self._socket = None

    def __call__(self, *words):
        raw = b"*%d\r\n" % len(words)
        for word in words:
            word = word if isinstance(word, bytes) else str(word).encode()
            raw += b"$%d\r\n%s\r\n" % (len(word), word)
        for last in (False, True):
            try:
                if self._file is None:
                    self._socket = socket.create_connection(("127.0.0.1", self.port), timeout=10)
                    self._file = self._socket.makefile("rb")
                self._socket.sendall(raw)
                return self._reply()
            except (ConnectionError, EOFError):
                self.close()
                if last:
                    raise

    def hash(self, key):
        """HGETALL as a dict of text."""
        flat = [x.decode() for x in self("HGETALL", key)]
        return dict(zip(flat[::2], flat[1::2]))

    def keys(self, pattern="*"):
        """All keys (SCAN), sorted."""
        found, cursor = set(), b"0"
        while True:
            cursor, some = self("SCAN", cursor, "MATCH", pattern, "COUNT", 10000)
            found.update(k.decode() for k in some)
            if cursor == b"0":
                return sorted(found)

    def hashes(self, pattern="*"):
        """{key: hash} of all keys that match."""
        return {key: self.hash(key) for key in self.keys(pattern)}

    def close(self):
        if self._file:
            self._file.close()
            self._socket.close()
        self._file = self._socket = None

    def _reply(self):
        line = self._file.readline()
        if not line.endswith(b"\r\n"):
            raise EOFError("the server closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest
        if kind == b"-":
            raise RedisError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            size = int(rest)
            return None if size < 0 else self._file.read(size + 2)[:-2]
        if kind == b"*":
            count = int(rest)
            return None if count < 0 else [self._reply() for _ in range(count)]
        raise RedisError(f"not a reply: {line!r}")


class Redis:
    """with Redis() as redis: redis.url, redis.client("PING").

    Nothing is saved: after kill() or stop(), start() comes back empty on the same port, a wiped Redis. Redis(durable=True)
    keeps an append-only file and comes back with its data.
    """

    def __init__(self, durable=False, args=()):
        self.folder = make_temp("redis")
        self.log = self.folder / "redis.log"
        self.durable = durable
        self.args = list(args)
        self.port = self.child = self.client = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self, timeout=30.0):
        assert self.child is None, "Redis runs already"
        fresh = self.port is None
        for _ in range(5):
            if fresh:
                self.port = free_port()
                self.client = Client(self.port)
            self.child = Child(
                [_server(), "--port", self.port, "--bind", "127.0.0.1", "--dir", self.folder, "--save", "", "--appendonly",
                 "yes" if self.durable else "no", "--appendfsync", "always", "--daemonize", "no", *self.args],
                self.log,
                env={**os.environ, "LC_ALL": "C"},
            )  # fmt: skip
            if wait_until(self._answers, timeout, lambda: f"Redis to answer:\n{self.child.tail()}") == "yes":
                return self
            tail, self.child = self.child.tail(), None
            if not fresh or "Address already in use" not in tail:
                raise AssertionError(f"Redis ended while it started:\n{tail}")
        raise AssertionError("no port for Redis in five tries")

    def _answers(self):
        if not self.child.running():
            return "ended"
        try:
            # Not just any server on this port: ours.
            info = self.client("INFO", "server").decode()
            return "yes" if f"process_id:{self.child.pid}\r\n" in info else None
        except (OSError, EOFError, RedisError):
            return None

    def stop(self):
        if self.child:
            child, self.child = self.child, None
            self.client.close()
            child.terminate()

    def kill(self):
        if self.child:
            self.client.close()
            self.child.kill()
            self.child = None

    def pause(self):
        self.child.signal(signal.SIGSTOP)

    def resume(self):
        self.child.signal(signal.SIGCONT)

    def close(self):
        if self.child:
            self.child.signal(signal.SIGCONT)
        self.kill()
        remove(self.folder)
