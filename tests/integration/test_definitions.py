"""apply, get, describe, delete, and what reads memberships: members, tail. On a real Kafka, without any consumer running."""

import http.server
import json
import subprocess
import threading
import unittest
from datetime import datetime, timezone

from support import Installation, Kafka, create_topic, encode, latest_by_key, partition_of, person_key, produce, read_all, topic_partitions, wait_until
from support.program import BINARY, _settings, environment

DATASET = {"kind": "dataset", "id": "web", "topic": "web.events", "format": "json",
           "person": {"namespace": "shop", "id": {"path": "user"}}, "timestamp": {"path": "at"},
           "fields": {"type": {"path": "type", "type": "string", "labels": ["C2"]}}}  # fmt: skip
SEGMENT = {"kind": "segment", "id": "buyers", "name": "Buyers", "dataset": "web",
           "where": {"event": {"field": "type", "eq": "buy"}, "window": "7d"}}  # fmt: skip
AUDIENCE = {"kind": "audience", "id": "win-back", "where": {"not": {"segment": "buyers"}}}


def membership(audience, person, status, since, version):
    """(key, value, partition) of a record on the memberships topic."""
    at = datetime.fromtimestamp(since / 1000, timezone.utc)
    value = {"audience": audience, "namespace": "shop", "personId": person, "status": status, "since": at, "version": version, "cause": "event",
             "eventId": "e1", "eventTime": at, "emittedAt": at, "audienceVersion": 1}  # fmt: skip
    key = person_key("shop", person)
    return {"key": key + b"|" + audience.encode(), "value": encode("membership", value), "partition": partition_of(key, 4)}


class Base(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.kafka = Kafka().start()

    @classmethod
    def tearDownClass(cls):
        cls.kafka.close()

    def setUp(self):
        prefix = self.id().rsplit(".", 1)[1]
        self.site = Installation(self.kafka, settings={"topics.prefix": prefix})
        self.prefix = prefix
        self.addCleanup(self.site.close)
        self.dataset = {**DATASET, "topic": f"{prefix}.web"}

    def apply(self, *definitions, code=0, options=()):
        path = self.site.write("definitions.json", list(definitions))
        return self.site.run("apply", *options, "-f", path, "--json", code=code)


class ApplyTest(Base):
    def test_created_unchanged_configured(self):
        first = self.apply(AUDIENCE, SEGMENT, self.dataset).rows
        self.assertEqual([(row["kind"], row["id"], row["result"], row["version"]) for row in first],
                         [("audience", "win-back", "created", 1), ("segment", "buyers", "created", 1), ("dataset", "web", "created", 1)])  # fmt: skip
        segment = first[1]
        self.assertIn(segment["state"], ("bounded", "per window", "all history"))
        self.assertTrue(segment["reason"])
        before = read_all(self.kafka, f"{self.prefix}.definitions")
        again = self.apply(AUDIENCE, SEGMENT, self.dataset).rows
        self.assertEqual({(row["result"], row["version"]) for row in again}, {("unchanged", 1)})
        self.assertEqual(len(read_all(self.kafka, f"{self.prefix}.definitions")), len(before))
        changed = json.loads(json.dumps(SEGMENT).replace("7d", "8d"))
        self.assertEqual([(row["result"], row["version"]) for row in self.apply(changed, AUDIENCE).rows], [("configured", 2), ("unchanged", 1)])
        self.assertEqual(self.site.run("get", "segment", "buyers", "--json").json["version"], 2)

    def test_topics(self):
        self.apply(self.dataset, SEGMENT)
        made = topic_partitions(self.kafka)
        for name, partitions in [("web", 4), ("segments", 4), ("memberships", 4), ("definitions", 1)]:
            self.assertEqual(made[f"{self.prefix}.{name}"], partitions, name)
        (entry,) = self.kafka.admin.describe_configs([_config_of(f"{self.prefix}.definitions")]).values()
        self.assertEqual(entry.result(10)["cleanup.policy"].value, "compact")

    def test_partitions_follow_the_dataset(self):
        create_topic(self.kafka, f"{self.prefix}.web", 7)
        self.apply(self.dataset)
        self.assertEqual(topic_partitions(self.kafka)[f"{self.prefix}.memberships"], 7)

    def test_datasets_must_agree(self):
        create_topic(self.kafka, f"{self.prefix}.web", 3)
        create_topic(self.kafka, f"{self.prefix}.app", 5)
        result = self.apply(self.dataset, {**self.dataset, "id": "app", "topic": f"{self.prefix}.app"}, code=78)
        self.assertIn(f"{self.prefix}.web", result.err)
        self.assertIn(f"{self.prefix}.app", result.err)
        self.assertNotIn(f"{self.prefix}.definitions", topic_partitions(self.kafka))

    def test_record(self):
        self.apply(self.dataset, options=["--who", "anna"])
        (record,) = read_all(self.kafka, f"{self.prefix}.definitions")
        self.assertEqual(record.key, b"dataset/web")
        value = json.loads(record.value)
        self.assertEqual((value.pop("version"), value.pop("who")), (1, "anna"))
        datetime.fromisoformat(value.pop("time"))
        self.assertEqual(value, self.dataset)

    def test_a_dry_run_changes_nothing(self):
        row = self.apply(self.dataset, options=["--dry-run"]).json
        self.assertEqual((row["result"], row["dryRun"]), ("created", True))
        self.assertFalse([name for name in topic_partitions(self.kafka) if name.startswith(self.prefix)])

    def test_one_wrong_definition_stops_all(self):
        wrong = {**SEGMENT, "id": "typo", "where": {"event": {"field": "tpye", "eq": "buy"}}}
        result = self.apply(self.dataset, SEGMENT, wrong, code=65)
        self.assertEqual(result.out, "")
        for text in ("definitions.json", "tpye", "type"):
            self.assertIn(text, result.err)
        self.assertEqual(result.err.count("\n"), 1)
        self.assertNotIn(f"{self.prefix}.definitions", topic_partitions(self.kafka))

    def test_checked_against_what_is_applied(self):
        self.assertIn("web", self.apply(SEGMENT, code=65).err)
        self.apply(self.dataset)
        self.apply(SEGMENT)
        moved = {**self.dataset, "timestamp": {"path": "when"}}
        self.assertIn("timestamp", self.apply(moved, code=65).err)

    def test_folders_stdin_and_schema_files(self):
        self.site.write("all/sub/dataset.json", {**self.dataset, "format": "avro", "schema": "schemas/event.avsc"})
        schema = {"type": "record", "name": "E", "fields": [{"name": n, "type": "string"} for n in ("user", "type")] + [{"name": "at", "type": "long"}]}
        self.site.write("all/sub/schemas/event.avsc", schema)
        self.site.write("all/segment.json", SEGMENT)
        self.site.write("all/notes.txt", "not a definition")
        self.assertEqual(len(self.site.run("apply", "-f", self.site.folder / "all", "--json").rows), 2)
        value = json.loads(latest_by_key(read_all(self.kafka, f"{self.prefix}.definitions"))[b"dataset/web"])
        self.assertEqual(value["schema"], schema)
        # The same file again is no change, although the topic has the schema's content.
        self.assertEqual({row["result"] for row in self.site.run("apply", "-f", self.site.folder / "all", "--json").rows}, {"unchanged"})
        self.assertEqual(self.site.run("apply", "-f", "-", "--json", input=json.dumps(AUDIENCE)).json["result"], "created")

    def test_twice_in_two_files(self):
        a, b = self.site.write("a.json", self.dataset), self.site.write("b.json", self.dataset)
        result = self.site.run("apply", "-f", a, b, code=65)
        self.assertIn("a.json", result.err)
        self.assertIn("b.json", result.err)


def _config_of(topic):
    from confluent_kafka.admin import ConfigResource

    return ConfigResource(ConfigResource.Type.TOPIC, topic)


class NoTransactionsTest(unittest.TestCase):
    def test_a_cluster_with_too_few_brokers_for_transactions(self):
        """Kafka's default wants three replicas of the topic of its transactions; definitions are applied all the same."""
        with Kafka({"transaction.state.log.replication.factor": 3}) as kafka, Installation(kafka) as site:
            done = site.run("apply", "-f", site.write("definitions.json", [DATASET, SEGMENT, AUDIENCE]), "--json")
            self.assertEqual({"created"}, {row["result"] for row in done.rows})
            self.assertIn("the cluster gives no transactions", done.err)
            self.assertEqual(3, len(site.run("get", "--json").rows))
            self.assertEqual(3, len(site.run("history", "--json").rows))


class ReadTest(Base):
    def test_get(self):
        self.assertIn("nothing is applied", self.site.run("get").out)
        self.apply(self.dataset, SEGMENT, AUDIENCE)
        self.assertEqual([(r["kind"], r["id"]) for r in self.site.run("get", "--json").rows],
                         [("dataset", "web"), ("segment", "buyers"), ("audience", "win-back")])  # fmt: skip
        self.assertEqual([r["id"] for r in self.site.run("get", "segments", "--json").rows], ["buyers"])
        self.assertEqual(json.loads(self.site.run("get", "segment", "buyers").out), SEGMENT)
        self.assertEqual(self.site.run("get", "segment", "buyers", "--json").json["definition"], SEGMENT)
        table = self.site.run("get").out.splitlines()
        self.assertRegex(table[0], r"^KIND +ID +VERSION +APPLIED +BY +NAME$")
        self.assertRegex(table[2], r"^segment +buyers +1 +20\S+Z +\S+@\S+ +Buyers$")
        self.assertIn("did you mean buyers?", self.site.run("get", "segment", "buyer", code=65).err)

    def test_describe(self):
        self.apply(self.dataset, SEGMENT, AUDIENCE, options=["--who", "anna"])
        row = self.site.run("describe", "segment", "buyers", "--json").json
        self.assertEqual((row["version"], row["who"], row["usedBy"], row["definition"]), (1, "anna", ["audience/win-back"], SEGMENT))
        self.assertEqual(row["topics"], [f"{self.prefix}.web", f"{self.prefix}.segments"])
        self.assertTrue(row["state"] and row["reason"])
        text = self.site.run("describe", "segment", "buyers").out
        for line in ("Kind:       segment", "by anna", "Used by:    audience/win-back", "State:", "no running process tells of it"):
            self.assertIn(line, text)
        self.assertEqual(self.site.run("describe", "dataset", "web", "--json").json["labels"], ["C2"])

    def test_delete(self):
        self.apply(self.dataset, SEGMENT, AUDIENCE)
        self.assertIn("segment/buyers", self.site.run("delete", "dataset", "web", code=65).err)
        self.assertIn("audience/win-back", self.site.run("delete", "segment", "buyers", code=65).err)
        self.assertEqual(self.site.run("delete", "audience", "win-back", "--json").json["result"], "deleted")
        self.site.run("delete", "segments", "buyers")
        self.assertEqual([r["id"] for r in self.site.run("get", "--json").rows], ["web"])
        self.assertEqual([key for key in latest_by_key(read_all(self.kafka, f"{self.prefix}.definitions")) if not key.startswith(b"control/")],
                         [b"dataset/web"])  # fmt: skip
        self.assertIn("no audience", self.site.run("delete", "audience", "win-back", code=65).err)
        # Versions never begin again.
        self.assertEqual([(r["result"], r["version"]) for r in self.apply(SEGMENT).rows], [("created", 2)])

    def test_members(self):
        self.apply(self.dataset, SEGMENT, AUDIENCE)
        self.assertEqual(self.site.run("members", "win-back").out, "no members\n")
        self.assertIn("did you mean win-back?", self.site.run("members", "winback", code=65).err)
        old = membership("win-back", "b", "realized", 5000, 1)
        produce(self.kafka, f"{self.prefix}.memberships", [
            membership("win-back", "a", "realized", 1000, 7), old, membership("win-back", "b", "exited", 6000, 2), old,
            membership("other", "c", "realized", 1000, 1), membership("win-back", "d:e", "realized", 2000, 3),
            membership("win-back", "f", "exited", 2000, 3),
        ])  # fmt: skip
        self.assertEqual(self.site.run("members", "win-back", "--json").rows, [
            {"audience": "win-back", "namespace": "shop", "id": "a", "since": 1000, "version": 7},
            {"audience": "win-back", "namespace": "shop", "id": "d:e", "since": 2000, "version": 3},
        ])  # fmt: skip
        self.assertEqual(self.site.run("members", "win-back", "--count").out, "2\n")
        self.assertRegex(self.site.run("members", "win-back").out, r"^NAMESPACE  ID   SINCE\nshop +a +1970-01-01T00:00:01.000Z\n")

    def test_tail(self):
        self.assertIn("rollcall apply", self.site.run("tail", code=69).err)
        self.apply(self.dataset)
        topic = f"{self.prefix}.memberships"
        produce(self.kafka, topic, [membership("x", "a", "realized", 1000, 1), membership("y", "b", "exited", 2000, 2)])
        rows = self.site.run("tail", "--from-beginning", "--max", 2, "--json").rows
        self.assertEqual({(r["audience"], r["id"], r["status"], r["since"], r["version"], r["cause"], r["eventId"]) for r in rows},
                         {("x", "a", "realized", 1000, 1, "event", "e1"), ("y", "b", "exited", 2000, 2, "event", "e1")})  # fmt: skip
        for option, value in [("--audience", "y"), ("--person", "shop:b"), ("--status", "exited")]:
            (row,) = self.site.run("tail", "--from-beginning", "--max", 1, option, value, "--json").rows
            self.assertEqual(row["id"], "b")
        # Without --from-beginning: only what comes from now on, and it comes at once.
        process = subprocess.Popen([str(BINARY), "tail", "--json", *_settings(self.site.settings)], stdout=subprocess.PIPE, text=True, env=environment())
        try:
            seen = []
            threading.Thread(target=lambda: seen.extend(json.loads(line) for line in process.stdout), daemon=True).start()
            count = 0

            def one_more():
                nonlocal count
                count += 1
                produce(self.kafka, topic, [membership("z", f"p{count}", "realized", 3000 + count, 1)])
                return seen

            wait_until(one_more, interval=0.5)
            self.assertEqual({row["audience"] for row in seen}, {"z"})
            process.terminate()
            self.assertEqual(process.wait(10), 0)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


class _Answer(http.server.BaseHTTPRequestHandler):
    status = {}

    def do_GET(self):
        body = json.dumps(self.status).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class StatusTest(Base):
    """Processes that are only played: what status makes of what they say."""

    def play(self, *processes):
        records = []
        for key, role, section in processes:
            port = 1
            if section is not None:
                handler = type("Answer", (_Answer,), {"status": {"roles": {role: section}}})
                server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
                threading.Thread(target=server.serve_forever, daemon=True).start()
                self.addCleanup(server.server_close)
                self.addCleanup(server.shutdown)
                port = server.server_address[1]
            value = {"role": role, "host": "127.0.0.1", "port": port, "partitions": [0], "since": "2026-01-01T00:00:00.000Z"}
            records.append((key.encode(), json.dumps(value).encode()))
        produce(self.kafka, f"{self.prefix}.processes", records)

    def rows(self, kind, code=0):
        return [row for row in self.site.run("status", "--json", code=code).rows if row["type"] == kind]

    def test_nothing_runs(self):
        self.apply(self.dataset, SEGMENT)
        result = self.site.run("status", code=69)
        self.assertIn("no process", result.err)
        self.assertRegex(result.out, r"buyers +1 +no ingest is running")

    def test_parts_are_added_up(self):
        self.apply(self.dataset, SEGMENT, AUDIENCE)
        part = {"topic": "web", "partition": 0, "state": "live", "offset": 5, "end_offset": 8, "lag_records": 3, "lag_seconds": 0.5, "persons": 2}
        self.play(
            ("a-ingest", "ingest", {"ready": True, "partitions": [part], "errors": ["out of luck"],
                                    "segments": [{"id": "buyers", "version": 1, "state": "live", "members": 2, "incomplete_until_ms": 1767225600000}]}),
            ("b-ingest", "ingest", {"ready": False, "segments": [{"id": "buyers", "version": 1, "state": "warming", "members": 3, "progress": 0.25}]}),
            ("c-materialize", "materialize", {"ready": True, "audiences": [{"id": "win-back", "version": 1, "state": "live", "members": 7, "last_change_ms": 1767225600000}]}),
            ("d-sink", "sink", None),
        )  # fmt: skip
        self.assertEqual([(r["process"], r["answers"]) for r in self.rows("process")],
                         [("a-ingest", True), ("b-ingest", True), ("c-materialize", True), ("d-sink", False)])  # fmt: skip
        (segment,) = self.rows("segment")
        self.assertEqual((segment["members"], segment["state"], segment["incompleteUntil"], segment["progress"]), (5, "warming", 1767225600000, 0.25))
        (audience,) = self.rows("audience")
        self.assertEqual((audience["members"], audience["lastChange"]), (7, 1767225600000))
        (partition,) = self.rows("partition")
        self.assertEqual((partition["process"], partition["role"], partition["lag_records"]), ("a-ingest", "ingest", 3))
        text = self.site.run("status").out
        for pattern in (r"a-ingest +127\.0\.0\.1:\d+ +ready", r"b-ingest +\S+ +not ready", r"d-sink +\S+ +does not answer", r"ingest +web +0 +live +5 +3 +500 ms +2",
                        r"buyers +1 +warming +5 +incomplete until 2026-01-01T00:00:00.000Z", r"win-back +1 +live +7 +2026-01-01", r"a-ingest: out of luck"):  # fmt: skip
            self.assertRegex(text, pattern)
        row = self.site.run("describe", "audience", "win-back", "--json").json
        self.assertEqual([(part["process"], part["members"]) for part in row["live"]], [("c-materialize", 7)])


if __name__ == "__main__":
    unittest.main()
