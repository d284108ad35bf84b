"""The harness itself: the servers start, stop, die and come back; clients of three makes agree about keys and partitions."""

# release only: it does not run the program

import json
import subprocess
import sys
import tempfile
import time
import unittest
import unittest.mock
import urllib.error
import urllib.request
from pathlib import Path

from support import (
    Installation,
    Kafka,
    Redis,
    RedisError,
    Registry,
    Rollcall,
    confluent_frame,
    confluent_unframe,
    create_topic,
    decode,
    encode,
    end_offsets,
    eventually,
    java_consume,
    java_produce,
    latest_by_key,
    murmur2,
    partition_of,
    person_key,
    produce,
    program,
    read_all,
    rollcall,
    topic_partitions,
    wait_until,
)
from support.basics import ROOT, make_temp


class KafkaTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        began = time.monotonic()
        cls.kafka = Kafka().start()
        cls.seconds = time.monotonic() - began

    @classmethod
    def tearDownClass(cls):
        cls.kafka.close()

    def test_it_is_up_soon(self):
        self.assertLess(self.seconds, 60)

    def test_topics_are_created_by_request_only(self):
        create_topic(self.kafka, "made", 3, cleanup_policy="compact")
        with self.assertRaises(Exception):
            read_all(self.kafka, "never-made")
        self.assertEqual(topic_partitions(self.kafka).get("made"), 3)
        self.assertNotIn("never-made", topic_partitions(self.kafka))

    def test_python_and_java_agree_about_partitions(self):
        create_topic(self.kafka, "keyed", 5)
        keys = [person_key("ecid", str(n * n)).decode() for n in range(200)]
        placed = produce(self.kafka, "keyed", [(key.encode(), b"python") for key in keys])
        self.assertEqual([p for p, _ in placed], [partition_of(key.encode(), 5) for key in keys])
        java_produce(self.kafka, "keyed", [(key, "java") for key in keys])
        records = read_all(self.kafka, "keyed")
        self.assertEqual(len(records), 400)
        for record in records:
            self.assertEqual(record.partition, partition_of(record.key, 5), record)
        self.assertEqual(set(latest_by_key(records).values()), {b"java"})
        read = java_consume(self.kafka, "keyed", 400)
        self.assertEqual(sorted(read), sorted((r.partition, r.key.decode(), r.value.decode()) for r in records))

    def test_records_keep_headers_timestamps_and_tombstones(self):
        create_topic(self.kafka, "kept", 2)
        produce(self.kafka, "kept", [
            {"key": b"a", "value": b"1", "timestamp": 1700000000123, "headers": [("reason", b"because")], "partition": 1},
            {"key": b"a", "value": None, "partition": 1},
        ])  # fmt: skip
        first, second = read_all(self.kafka, "kept")
        self.assertEqual((first.timestamp, first.headers, first.partition, first.offset), (1700000000123, {"reason": b"because"}, 1, 0))
        self.assertIsNone(second.value)
        self.assertEqual(latest_by_key([first, second]), {})
        self.assertEqual(end_offsets(self.kafka, "kept"), {0: 0, 1: 2})


class KafkaRestartTest(unittest.TestCase):
    def test_it_keeps_its_data_and_port_when_stopped_or_killed(self):
        with Kafka() as kafka:
            create_topic(kafka, "data", 2)
            produce(kafka, "data", [(b"k%d" % n, b"v") for n in range(100)])
            port = kafka.port
            for end in (kafka.stop, kafka.kill):
                end()
                kafka.start()
                self.assertEqual(kafka.port, port)
                self.assertEqual(len(read_all(kafka, "data")), 100)
            pid = kafka.child.pid
        self.assertFalse(kafka.folder.exists())
        self.assertNotEqual(subprocess.run(["kill", "-0", str(pid)], capture_output=True).returncode, 0)


class RedisTest(unittest.TestCase):
    def test_values_come_back_and_a_kill_wipes_them(self):
        with Redis() as redis:
            self.assertEqual(redis.client("SET", "k", b"\x00\r\n\xff"), b"OK")
            self.assertEqual(redis.client("GET", "k"), b"\x00\r\n\xff")
            self.assertIsNone(redis.client("GET", "nothing"))
            redis.client("HSET", "h", "a", 1, "b", 2)
            self.assertEqual(redis.client.hashes("h*"), {"h": {"a": "1", "b": "2"}})
            with self.assertRaises(RedisError):
                redis.client("INCR", "k")
            redis.kill()
            redis.start()
            self.assertEqual(redis.client.keys(), [])

    def test_a_durable_one_keeps_them(self):
        with Redis(durable=True) as redis:
            redis.client("SET", "k", "v")
            redis.kill()
            redis.start()
            self.assertEqual(redis.client("GET", "k"), b"v")


class RegistryTest(unittest.TestCase):
    def test_ids_are_given_and_faults_follow_the_script(self):
        def ask(path, body=None):
            request = urllib.request.Request(registry.url + path, json.dumps(body).encode() if body else None)
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:
                    return answer.status, json.load(answer)
            except urllib.error.HTTPError as error:
                return error.code, json.load(error)

        with Registry() as registry:
            text = json.dumps({"type": "record", "name": "r", "fields": []})
            self.assertEqual(ask("/subjects/x-value/versions", {"schema": text}), (200, {"id": 1}))
            self.assertEqual(ask("/subjects/y-value/versions", {"schema": text}), (200, {"id": 1}))
            self.assertEqual(ask("/subjects/x-value/versions", {"schema": '"string"'}), (200, {"id": 2}))
            self.assertEqual(ask("/schemas/ids/1"), (200, {"schema": text}))
            self.assertEqual(ask("/subjects/x-value/versions/latest")[1]["version"], 2)
            self.assertEqual(ask("/schemas/ids/3")[0], 404)
            registry.fail(503, 2)
            self.assertEqual([ask("/schemas/ids/1")[0] for _ in range(3)], [503, 503, 200])
            self.assertEqual(registry.requests[-1], ("GET", "/schemas/ids/1"))


STAND_IN = """#!/usr/bin/env python3
# Behaves as rollcall's processes and commands do, as far as the harness looks at it.
import json, os, signal, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer

settings = dict(a.split("=", 1) for flag, a in zip(sys.argv, sys.argv[1:]) if flag == "--set")
if sys.argv[1] == "rows":
    print(json.dumps({"settings": settings, "env": [k for k in os.environ if k.startswith("ROLLCALL_")]}))
    print("level=info msg=done", file=sys.stderr)
    sys.exit(0)
if sys.argv[1] == "fail":
    sys.exit("level=error msg=no")
if sys.argv[1] == "leak":
    print("==1==ERROR: LeakSanitizer: detected memory leaks", file=sys.stderr)
    sys.exit(0)
if sys.argv[1] == "die":
    sys.exit("level=error msg=\\"cannot start\\"")

began = time.monotonic()

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        ready = time.monotonic() - began > 0.3
        body = b"# HELP x y\\nx_total{topic=\\"a\\",kind=\\"b\\"} 2\\nx_total{topic=\\"a\\"} 3\\nup 1\\n"
        self.send_response(200 if ready or self.path == "/metrics" else 503)
        self.end_headers()
        self.wfile.write(body if self.path == "/metrics" else b"")
    def log_message(self, *_):
        pass

signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
print(json.dumps({"change": 1}), flush=True)
print("level=info msg=started", file=sys.stderr, flush=True)
host, port = settings["http.listen"].split(":")
HTTPServer((host, int(port)), Handler).serve_forever()
"""


class ProgramTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        stand_in = Path(folder.name) / "rollcall"
        stand_in.write_text(STAND_IN)
        stand_in.chmod(0o755)
        patched = unittest.mock.patch.object(program, "BINARY", stand_in)
        patched.start()
        self.addCleanup(patched.stop)

    def test_a_command_gives_rows_and_gets_the_settings_alone(self):
        with unittest.mock.patch.dict("os.environ", {"ROLLCALL_TEST_X": "1"}):
            result = rollcall("rows", settings={"a.b": "c=d", "on": True})
        self.assertEqual(result.json, {"settings": {"a.b": "c=d", "on": "true"}, "env": []})
        self.assertIn("done", result.err)

    def test_exit_status_and_sanitizer_reports_are_looked_at(self):
        with self.assertRaisesRegex(AssertionError, "expected exit 0"):
            rollcall("fail")
        self.assertEqual(rollcall("fail", code=1).code, 1)
        with self.assertRaisesRegex(AssertionError, "a sanitizer reports"):
            rollcall("leak", code=None)

    def test_a_process_is_awaited_watched_killed_and_started_again(self):
        with Installation(settings={"x": "y"}) as site:
            ingest = site.start("ingest")
            self.assertEqual(ingest.get("/readyz")[0], 200)
            self.assertEqual((ingest.metric("x_total"), ingest.metric("x_total", kind="b"), ingest.metrics()["up"]), (5, 2, 1))
            self.assertEqual(ingest.output_rows(), [{"change": 1}])
            ingest.pause()
            self.assertEqual(ingest.get("/readyz", timeout=0.2)[0], 0)
            ingest.resume()
            state = ingest.settings["state.dir"]
            ingest.kill()
            self.assertFalse(ingest.running())
            ingest.start()
            self.assertEqual((ingest.settings["state.dir"], ingest.log_text().count("started")), (state, 2))
            pid = ingest.pid
        self.assertNotEqual(subprocess.run(["kill", "-0", str(pid)], capture_output=True).returncode, 0)
        self.assertFalse(site.folder.exists())

    def test_a_process_that_ends_at_once_is_told_with_its_log(self):
        with self.assertRaisesRegex(AssertionError, 'die ended with 1:(?s:.*)cannot start'):
            Rollcall("die").start()


class RunTest(unittest.TestCase):
    """The runner itself."""

    def test_what_passes_the_second_time_only_is_named(self):
        folder = make_temp("runner")
        marker = folder / "marker"
        (folder / "test_sometimes.py").write_text(
            "import pathlib, unittest\n"
            "class T(unittest.TestCase):\n"
            "    def test_good(self): pass\n"
            "    def test_moody(self):\n"
            f"        seen = pathlib.Path({str(marker)!r})\n"
            "        before = seen.exists(); seen.touch(); self.assertTrue(before)\n"
        )
        command = [sys.executable, ROOT / "tests" / "integration" / "run.py", "--in", folder, "--logs", folder, "--again"]
        told = subprocess.run(command, capture_output=True, text=True, timeout=60)
        lines = told.stdout.splitlines()
        self.assertEqual((told.returncode, lines[-1]), (0, "2 passed, 0 failed"), told.stdout)
        self.assertEqual(["flaky   test_sometimes.T.test_moody failed the first time, and passed alone"],
                         [line for line in lines if line.startswith("flaky")])  # fmt: skip
        self.assertTrue(any(line.startswith("seconds  test_sometimes ") for line in lines), told.stdout)


class PureTest(unittest.TestCase):
    def test_murmur2_is_the_java_clients(self):
        # From the unit tests of Kafka's Java client (Utils.murmur2), there as signed numbers.
        known = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536,
                 b"a-little-bit-longer-string": -1486304829, b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
                 b"abc": 479470107}  # fmt: skip
        for key, wanted in known.items():
            self.assertEqual(murmur2(key), wanted & 0xFFFFFFFF, key)

    def test_person_keys_escape_the_namespace_only(self):
        self.assertEqual(person_key("a:b\\c", "d:e\\f"), b"a\\:b\\\\c:d:e\\f")

    def test_avro_and_frames(self):
        schema = {"type": "record", "name": "r", "fields": [{"name": "n", "type": ["null", "long"]}]}
        raw = encode(schema, {"n": 7})
        self.assertEqual(decode(schema, raw), {"n": 7})
        with self.assertRaises(AssertionError):
            decode(schema, raw + b"x")
        self.assertEqual(confluent_unframe(confluent_frame(12, raw)), (12, raw))

    def test_waiting_ends_with_a_reason(self):
        with self.assertRaisesRegex(AssertionError, "waited 0.05 s for rain"):
            wait_until(lambda: False, 0.05, "rain")
        with self.assertRaisesRegex(AssertionError, "1 != 2"):
            eventually(lambda: self.assertEqual(1, 2), 0.05)


if __name__ == "__main__":
    unittest.main()
