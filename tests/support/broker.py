"""A real Apache Kafka: one KRaft node, broker and controller in one process, in some seconds."""

import shutil
import signal
import subprocess
import time
import uuid
import base64

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from .basics import ROOT, Child, free_port, make_temp, remove, tail

LIB = ROOT / "build" / "kafka" / "lib"


def java(*args, heap="256m"):
    """The command line of a Java program of Kafka's. The log level counts for slf4j-simple, which writes to stderr."""
    if not LIB.is_dir():
        raise RuntimeError("build/kafka/lib is not there: run scripts/bootstrap --tests")
    return ["java", f"-Xmx{heap}", "-Xshare:auto", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-Dorg.slf4j.simpleLogger.showDateTime=true", "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
            "-cp", f"{LIB}/*", *args]  # fmt: skip


class Kafka:
    """with Kafka() as kafka: kafka.bootstrap is "127.0.0.1:PORT".

    stop(), kill() and start() keep the port and the data; `config` adds or replaces broker properties (also on a later
    start(**{"property.name": value})). `admin` is a confluent_kafka AdminClient.
    """

    def __init__(self, config=None, heap="512m"):
        self.folder = make_temp("kafka")
        self.log = self.folder / "broker.log"
        self.heap = heap
        self.config = dict(config or {})
        self.port = self.controller_port = None
        self.child = None
        self._admin = None

    # --- life cycle

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()

    def start(self, timeout=90.0, **config):
        """Starts the broker (with the data it had) and returns when every partition has a leader."""
        assert self.child is None, "the broker runs already"
        self.config.update(config)
        fresh = self.port is None
        for attempt in range(5):
            if fresh:
                self._format()
            self.child = Child(
                java("-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-Xms128m", "kafka.Kafka", self._properties(), heap=self.heap),
                self.log,
            )
            try:
                self._wait_ready(timeout)
                return self
            except _Died:
                self.child = None
                taken = "Address already in use" in self.log.read_text(errors="replace")
                if not (fresh and taken and attempt < 4):
                    raise
                # Somebody took the port between our look and the broker's bind: others, please.
                self.log.unlink()
                shutil.rmtree(self.folder / "data")
        raise AssertionError("unreachable")

    def stop(self, timeout=30.0):
        """Ends it in order (SIGTERM). It may be started again."""
        if self.child:
            child, self.child = self.child, None
            try:
                child.terminate(timeout)
            except AssertionError:
                pass  # killed by now; a broker that is slow to leave is no finding about the program under test

    def kill(self):
        """kill -9. It may be started again."""
        if self.child:
            self.child.kill()
            self.child = None

    def pause(self):
        """SIGSTOP: connections stay open, nothing is answered."""
        self.child.signal(signal.SIGSTOP)

    def resume(self):
        self.child.signal(signal.SIGCONT)

    def close(self):
        """Ends it for good and removes its data. A kill: nobody reads the data again."""
        self._admin = None
        if self.child:
            self.child.signal(signal.SIGCONT)
        self.kill()
        remove(self.folder)

    # --- use

    @property
    def bootstrap(self):
        return f"127.0.0.1:{self.port}"

    @property
    def admin(self):
        if self._admin is None:
            self._admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 2, "socket.timeout.ms": 10000})
        return self._admin

    def throttle(self, client, bytes_per_s):
        """Has the broker slow down what the clients of this id read."""
        done = subprocess.run(
            java("-XX:TieredStopAtLevel=1", "kafka.admin.ConfigCommand", "--bootstrap-server", self.bootstrap, "--alter", "--add-config",
                 f"consumer_byte_rate={bytes_per_s}", "--entity-type", "clients", "--entity-name", client),
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    # --- inside

    def _format(self):
        self.port, self.controller_port = free_port(), free_port()
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        # Kafka's tools refuse ids that start with a dash.
        cluster = "r" + cluster[1:] if cluster.startswith("-") else cluster
        done = subprocess.run(
            java("-XX:TieredStopAtLevel=1", "kafka.tools.StorageTool", "format", "-t", cluster, "-c", self._properties()),
            capture_output=True,
            text=True,
            timeout=60,
        )
        if done.returncode != 0:
            raise RuntimeError(f"formatting Kafka's storage failed:\n{done.stdout}{done.stderr}")

    def _properties(self):
        properties = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@127.0.0.1:{self.controller_port}",
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self.controller_port}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": self.folder / "data",
            "auto.create.topics.enable": "false",
            # One broker, quick groups.
            "num.partitions": 4,
            "default.replication.factor": 1,
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 4,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "group.initial.rebalance.delay.ms": 0,
            # Shared machines: few threads, little memory (the cleaner's buffer alone is 128 MiB by default).
            "num.network.threads": 2,
            "num.io.threads": 4,
            "background.threads": 2,
            "num.recovery.threads.per.data.dir": 1,
            "log.cleaner.dedupe.buffer.size": 8 * 1024 * 1024,
            "log.index.size.max.bytes": 1024 * 1024,
            # A restart after kill -9 waits until its former self is given up.
            "broker.session.timeout.ms": 3000,
            "broker.heartbeat.interval.ms": 500,
        }
        properties.update(self.config)
        path = self.folder / "server.properties"
        path.write_text("".join(f"{key}={value}\n" for key, value in properties.items()))
        return path

    def _wait_ready(self, timeout):
        deadline = time.monotonic() + timeout
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0, "reconnect.backoff.max.ms": 100})
        while time.monotonic() < deadline:
            if not self.child.running():
                raise _Died(f"Kafka ended while it started:\n{tail(self.log)}")
            try:
                seen = admin.list_topics(timeout=0.5)
                leaderless = any(p.leader < 0 for t in seen.topics.values() for p in t.partitions.values())
                if seen.brokers and not leaderless:
                    return
            except KafkaException:
                pass
            time.sleep(0.05)
        raise AssertionError(f"Kafka was not ready after {timeout:g} s:\n{tail(self.log)}")


class _Died(AssertionError):
    pass
