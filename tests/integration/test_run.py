"""`run` and `run --embedded`: set up, signals, the configuration read again, a second terminal beside it, a second start."""

import json
import os
import signal
import tempfile
import time
import unittest
from pathlib import Path

from support import Kafka, Redis, Rollcall, eventually, rollcall, wait_until

DEFINITIONS = [
    {"kind": "dataset", "id": "web", "topic": "web.events", "format": "json", "person": {"namespace": "shop", "id": {"path": "user"}},
     "timestamp": {"path": "at"}, "fields": {"type": {"path": "type", "type": "string"}}},
    {"kind": "segment", "id": "buyers", "dataset": "web", "where": {"event": {"field": "type", "eq": "buy"}, "window": "1h"}},
    {"kind": "segment", "id": "viewers", "dataset": "web", "where": {"event": {"field": "type", "eq": "view"}, "window": "2s"}},
    {"kind": "audience", "id": "buyers", "where": {"segment": "buyers"}},
    {"kind": "audience", "id": "viewers", "where": {"segment": "viewers"}},
]  # fmt: skip


def events(kind, persons):
    now = int(time.time() * 1000)
    return "".join(json.dumps({"user": f"u{n}", "type": kind, "at": now}) + "\n" for n in range(persons))


class Base(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="rollcall-test-run-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return path


class RunTest(Base):
    @classmethod
    def setUpClass(cls):
        cls.kafka = Kafka().start()
        cls.redis = Redis().start()

    @classmethod
    def tearDownClass(cls):
        cls.redis.close()
        cls.kafka.close()

    def settings(self, prefix):
        return {"kafka.bootstrap.servers": self.kafka.bootstrap, "sink.default": self.redis.url, "topics.prefix": prefix, "group.prefix": prefix}

    def test_three_in_one(self):
        settings = self.settings("three")
        definitions = [{**d, "topic": "three.web"} if d["kind"] == "dataset" else d for d in DEFINITIONS]
        rollcall("apply", "-f", self.write("d.json", json.dumps(definitions)), settings=settings)
        with Rollcall("run", settings=settings) as process:
            rollcall("produce", "--dataset", "web", self.write("e.jsonl", events("buy", 30)), settings=settings)
            eventually(lambda: self.assertEqual(rollcall("members", "buyers", "--count", settings=settings).out, "30\n"))

            def in_redis():
                profile = rollcall("profile", "shop:u7", "--json", settings=settings, code=[0, 65])
                self.assertEqual(profile.code, 0, profile)
                self.assertEqual(profile.json["segmentMembership.buyers"]["status"], "realized")

            eventually(in_redis)

            def status():
                rows = rollcall("status", "--json", settings=settings).rows
                self.assertEqual({r["id"]: r["members"] for r in rows if r["type"] == "audience"}, {"buyers": 30, "viewers": 0})
                return rows

            rows = eventually(status)  # each process renews its picture a few times a second
            self.assertEqual(sorted(r["role"] for r in rows if r["type"] == "process"), ["ingest", "materialize", "sink"])
            self.assertTrue(all(r["answers"] and r["ready"] for r in rows if r["type"] == "process"), rows)
            self.assertEqual(process.get("/healthz"), (200, "ok\n"))
            self.assertEqual(process.get("/readyz")[0], 200)
            self.assertEqual(process.get("/nothing")[0], 404)
            self.assertTrue(any(name.startswith("rollcall_ingest_") for name in process.metrics()))
            self.assertNotIn("shop:u7", process.get("/metrics")[1] + process.log_text())
        self.assertIn("no process", rollcall("status", settings=settings, code=69).err)

    def test_sighup(self):
        config = self.write("rollcall.conf", "log.level = info\n")
        with Rollcall("run", "--config", config, settings=self.settings("hup")) as process:
            config.write_text("log.level = nonsense\n")
            process.hangup()
            wait_until(lambda: "the old one stays" in process.log_text(), 10)
            self.assertIn("rollcall.conf:1", process.log_text())
            config.write_text("log.level = warn\ncheckpoint.interval = 5s\n")
            process.hangup()
            wait_until(lambda: "takes effect at the next start" in process.log_text(), 10)
            self.assertIn("key=checkpoint.interval", process.log_text())
            before = process.log_text().count("configuration read again")
            config.write_text("log.level = info\n")
            process.hangup()
            wait_until(lambda: process.log_text().count("configuration read again") > before, 10)

    def test_idle_costs_nothing(self):
        with Rollcall("run", settings=self.settings("idle")) as process:
            time.sleep(2)
            ticks = os.sysconf("SC_CLK_TCK")

            def used():
                fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
                return (int(fields[11]) + int(fields[12])) / ticks

            before = used()
            time.sleep(10)
            self.assertLess((used() - before) / 10, 0.03)  # three consumers, below 1 % each


class EmbeddedTest(Base):
    def start(self):
        return Rollcall("run", "--embedded", folder=self.folder, name="run")

    def command(self, *args, **more):
        return rollcall(*args, settings={"state.dir": self.folder / "state"}, **more)

    def test_a_second_terminal_and_a_second_start(self):
        with self.start() as process:
            self.command("apply", "-f", self.write("d.json", json.dumps(DEFINITIONS)))
            sent = self.command("produce", "--dataset", "web", "--json", input=events("buy", 50) + events("view", 20)).json
            self.assertEqual((sent["sent"], sent["bad"]), (70, 0))
            eventually(lambda: self.assertEqual(self.command("members", "buyers", "--count").out, "50\n"))
            eventually(lambda: self.assertEqual(self.command("members", "viewers", "--count").out, "0\n"))  # by time alone

            def profile():
                found = self.command("profile", "shop:u3", "--json", code=[0, 65])
                self.assertEqual(found.code, 0, found)
                self.assertEqual(found.json["segmentMembership.buyers"]["status"], "realized")
                self.assertEqual(found.json["segmentMembership.viewers"]["status"], "exited")

            eventually(profile)
            self.assertIn("exit", self.command("tail", "--from-beginning", "--status", "exited", "--max", 1).out)
            counts = lambda: {r["id"]: r["members"] for r in self.command("status", "--json").rows if r["type"] == "audience"}  # noqa: E731
            eventually(lambda: self.assertEqual(counts(), {"buyers": 50, "viewers": 0}), 5)
            other = self.command("run", "--embedded", "--set", "http.listen=127.0.0.1:0", code=75)
            self.assertIn(f"in use by process {process.pid}", other.err.splitlines()[-1])
            self.command("delete", "audience", "viewers")
            self.command("delete", "segment", "viewers")
        with self.start():
            kept = eventually(lambda: self.command("get", "--json").rows or self.fail("no definitions"))
            self.assertEqual([(r["kind"], r["id"], r["version"]) for r in kept], [("dataset", "web", 1), ("segment", "buyers", 1), ("audience", "buyers", 1)])
            self.command("produce", "--dataset", "web", input=events("buy", 7))
            eventually(lambda: self.assertEqual(self.command("members", "buyers", "--count").out, "7\n"))

    def test_killed(self):
        process = self.start().start()
        self.command("apply", "-f", self.write("d.json", json.dumps(DEFINITIONS)))
        process.kill()
        with self.start():
            eventually(lambda: self.assertEqual(len(self.command("get", "--json").rows), len(DEFINITIONS)))

    def test_two_signals(self):
        process = self.start().start()
        child, process.child = process.child, None
        child.signal(signal.SIGTERM)
        child.signal(signal.SIGTERM)
        self.assertIn(child.wait(20), (0, 143))

    def test_interrupt_ends_in_order(self):
        process = self.start().start()
        child, process.child = process.child, None
        child.signal(signal.SIGINT)
        self.assertEqual(child.wait(20), 0)
        self.assertFalse((self.folder / "state" / "embedded.json").exists())


if __name__ == "__main__":
    unittest.main()
