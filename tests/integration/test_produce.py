"""`rollcall produce` on a real Kafka: what stands in files lies on the topic, in the dataset's form, where the Java client would have put
it, at the time that was asked for."""

import datetime
import gzip
import io
import json
import re
import signal
import subprocess
import time
import unittest

import fastavro

from support import ROOT, Kafka, create_topic, partition_of, read_all, rollcall, wait_until
from support.basics import make_temp, remove
from support.broker import java
from support.program import BINARY, environment

WEB = {
    "kind": "dataset", "id": "web", "topic": "web.events", "format": "json",
    "person": {"namespace": "crm:se", "id": {"path": "user.id"}}, "timestamp": {"path": "time"},
    "fields": {"type": {"path": "event.type", "type": "string"}, "n": {"path": "n", "type": "long"}},
}  # fmt: skip
SCHEMA = {
    "type": "record", "name": "Event", "namespace": "test", "fields": [
        {"name": "id", "type": "string"},
        {"name": "time", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "total", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}], "default": None},
        {"name": "items", "type": {"type": "array", "items": {"type": "record", "name": "Item", "fields": [
            {"name": "sku", "type": "string"}, {"name": "n", "type": "int", "default": 1}]}}, "default": []},
    ],
}  # fmt: skip
CALLS = {
    "kind": "dataset", "id": "calls", "topic": "calls.events", "format": "avro", "schema": SCHEMA,
    "person": {"namespace": "phone", "id": {"path": "id"}}, "timestamp": {"path": "time"},
    "fields": {"total": {"path": "total", "type": "decimal"}},
}  # fmt: skip


def ms(text):
    return int(datetime.datetime.fromisoformat(text).timestamp() * 1000)


class ProduceTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.kafka = Kafka().start()
        cls.addClassCleanup(cls.kafka.close)
        cls.folder = make_temp("produce")
        cls.addClassCleanup(remove, cls.folder)
        cls.count = 0

    def dataset(self, base, **changes):
        """A definitions file for `base` on a topic of its own."""
        ProduceTest.count += 1
        definition = {**base, **changes, "topic": f"{base['topic']}.{self.count}"}
        create_topic(self.kafka, definition["topic"], 4)
        path = self.folder / f"dataset{self.count}.json"
        path.write_text(json.dumps(definition))
        return definition["topic"], ["--dataset", definition["id"], "-f", path]

    def settings(self):
        return {"kafka.bootstrap.servers": self.kafka.bootstrap, "state.dir": self.folder / "state"}

    def produce(self, *args, **options):
        return rollcall("produce", *args, "--json", settings=self.settings(), **options)

    def file(self, name, content):
        path = self.folder / f"{self.count}-{name}"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def assert_placed(self, records, key):
        for record in records:
            self.assertEqual(record.key.decode(), key(json.loads(record.value)))
            self.assertEqual(record.partition, partition_of(record.key, 4))

    def test_csv_becomes_nested_json(self):
        topic, to = self.dataset(WEB)
        path = self.file("rows.csv", 'user.id,time,type,n,note\n7,2024-07-13 10:21:14,"vi""ew",3,\n8,2024-01-13T10:21:14Z,,,"a,b"\n')
        told = self.produce(*to, "--time-zone", "Europe/Stockholm", path).json
        self.assertEqual((told["rows"], told["sent"], told["bad"]), (2, 2, 0))
        records = read_all(self.kafka, topic)
        self.assert_placed(records, lambda event: "crm\\:se:" + event["user"]["id"])
        values = sorted((json.loads(r.value) for r in records), key=lambda v: v["user"]["id"])
        self.assertEqual(values, [
            {"user": {"id": "7"}, "time": ms("2024-07-13T10:21:14+02:00"), "event": {"type": 'vi"ew'}, "n": 3},
            {"user": {"id": "8"}, "time": ms("2024-01-13T10:21:14+00:00"), "note": "a,b"},
        ])  # fmt: skip

    def test_jsonl_is_sent_as_it_is(self):
        topic, to = self.dataset(WEB)
        lines = [f'{{ "user":{{"id":"{n}"}},\t"time":{1700000000000 + n}, "x":[1.50,null,"\\u00e5"]}}' for n in range(5000)]
        plain = self.file("a.jsonl", "\n".join(lines[:2500]) + "\n\n")
        packed = self.file("b.jsonl.gz", gzip.compress("\n".join(lines[2500:4000]).encode()))
        done = self.produce(*to, plain, packed, "-", input="\n".join(lines[4000:]))
        self.assertEqual(done.json["sent"], 5000)
        records = read_all(self.kafka, topic)
        self.assertEqual(sorted(r.value.decode() for r in records), sorted(lines))
        self.assert_placed(records, lambda event: "crm\\:se:" + event["user"]["id"])
        for partition in range(4):  # the file's order, within a partition
            numbers = [int(json.loads(r.value)["user"]["id"]) for r in records if r.partition == partition]
            self.assertEqual(numbers, sorted(numbers))

    def test_avro_from_csv_jsonl_and_containers(self):
        topic, to = self.dataset(CALLS)
        csv = self.file("rows.csv", "id,time,total,items.sku,elsewhere\n1,2024-01-13 10:21:14,12.5,A,x\n")
        jsonl = self.file("rows.jsonl", '{"id":"2","time":1700000000000,"total":"0.01"}\n{"id":"3","time":1700000000000,"oops":1}\n')
        container = io.BytesIO()
        fastavro.writer(container, SCHEMA, [{"id": "4", "time": 1700000000000, "total": None, "items": [{"sku": "B", "n": 2}]}], codec="deflate")
        avro = self.file("rows.avro", container.getvalue())
        done = self.produce(*to, csv, jsonl, avro)
        self.assertEqual((done.json["sent"], done.json["bad"]), (3, 1))
        self.assertRegex(done.err, r"rows\.jsonl:2: .*oops")
        self.assertRegex(done.err, r"column elsewhere")
        values = {}
        for record in read_all(self.kafka, topic):
            value = fastavro.schemaless_reader(io.BytesIO(record.value), SCHEMA)
            values[record.key.decode()] = (str(value["total"]), [tuple(item.values()) for item in value["items"]], value["time"].timestamp())
            self.assertEqual(record.partition, partition_of(record.key, 4))
        self.assertEqual(values, {
            "phone:1": ("12.50", [("A", 1)], ms("2024-01-13T10:21:14+00:00") / 1000),
            "phone:2": ("0.01", [], 1700000000), "phone:4": ("None", [("B", 2)], 1700000000),
        })  # fmt: skip

    def test_bad_rows_are_named_and_skipped(self):
        topic, to = self.dataset(WEB)
        path = self.file("rows.jsonl", "\n".join([
            '{"user":{"id":"1"},"time":1}', "{broken", '{"user":{"id":""},"time":1}', '{"user":{"id":"1"}}', "[]",
            json.dumps({"user": {"id": "1"}, "time": int(time.time() * 1000) + 2 * 86400_000}),
            json.dumps({"user": {"id": "1"}, "time": 1, "pad": "x" * (1 << 20)}), '{"user":{"id":"1"},"time":1,"n":"seven"}',
        ]))  # fmt: skip
        done = self.produce(*to, path)
        self.assertEqual((done.json["rows"], done.json["sent"], done.json["bad"]), (8, 1, 7))
        for line in range(2, 9):
            self.assertRegex(done.err, rf"rows\.jsonl:{line}: ")
        self.assertEqual(len(read_all(self.kafka, topic)), 1)
        done = self.produce(*to, "--strict", path, code=65)
        self.assertRegex(done.err, r"rows\.jsonl:2: ")

    def test_sort_and_shift(self):
        topic, to = self.dataset(WEB)
        path = self.file("rows.jsonl", "\n".join(json.dumps({"user": {"id": "1"}, "time": 1700000000000 + n * 7919 % 1000 * 1000, "n": n})
                                                 for n in range(1000)))  # fmt: skip
        before = int(time.time() * 1000)
        self.produce(*to, "--sort", "--shift", "now", path)
        times = [json.loads(r.value)["time"] for r in read_all(self.kafka, topic)]
        self.assertEqual(times, [times[0] + n * 1000 for n in range(1000)])
        self.assertTrue(before <= times[-1] <= time.time() * 1000)

    def batches(self, topic):
        """[(partition, baseOffset, lastOffset)] of the log as the broker has it."""
        found = []
        for log in sorted(self.kafka.folder.rglob(f"{topic}-[0-9]/*.log")):
            out = subprocess.run(java("kafka.tools.DumpLogSegments", "--files", str(log)), text=True, capture_output=True, check=True).stdout
            partition = int(re.search(r"-(\d)$", log.parent.name)[1])
            found += [(partition, int(a), int(b)) for a, b in re.findall(r"baseOffset: (\d+) lastOffset: (\d+)", out)]
        return found

    def test_pace_sends_each_event_at_its_time_and_parts_no_millisecond(self):
        topic, to = self.dataset(WEB)
        # 40 hours of bursts of 9 events within 20 s: a burst comes to a few milliseconds of 2 s.
        rows = [{"user": {"id": str(n % 5)}, "time": 1700000000000 + n // 9 * 144_000 + n % 9 * 2000, "n": n} for n in range(9000)]
        path = self.file("rows.jsonl", "\n".join(json.dumps(row) for row in reversed(rows)))
        start = time.time() * 1000
        self.produce(*to, "--pace", "2s", path)
        records = read_all(self.kafka, topic)
        self.assertEqual(len(records), 9000)
        events = sorted((json.loads(r.value) for r in records), key=lambda e: e["n"])
        times = [event["time"] for event in events]
        self.assertEqual(times, sorted(times))
        self.assertEqual(times[-1] - times[0], 2000)
        self.assertGreaterEqual(times[0], start)
        late = sorted(r.timestamp - json.loads(r.value)["time"] for r in records)
        self.assertGreaterEqual(late[0], 0)
        self.assertLess(late[len(late) // 2], 50)
        batches = self.batches(topic)
        where = {}
        for record in records:
            batch = next(b for b in batches if b[0] == record.partition and b[1] <= record.offset <= b[2])
            event = json.loads(record.value)
            where.setdefault((event["user"]["id"], event["time"]), set()).add(batch)
        self.assertGreater(sum(len(v) for v in where.values()), 100)
        self.assertEqual([moment for moment, batch in where.items() if len(batch) > 1], [])

    def test_rate(self):
        _, to = self.dataset(WEB)
        path = self.file("rows.jsonl", "\n".join(f'{{"user":{{"id":"{n}"}},"time":{n}}}' for n in range(600)))
        began = time.monotonic()
        self.produce(*to, "--rate", "200", path)
        self.assertGreater(time.monotonic() - began, 2.9)

    def test_interrupt_keeps_what_was_sent(self):
        topic, to = self.dataset(WEB)
        path = self.file("rows.jsonl", "\n".join(f'{{"user":{{"id":"{n}"}},"time":{n}}}' for n in range(1000)))
        args = [str(BINARY), "produce", *map(str, to), "--pace", "10m", "--json", str(path)]
        for key, value in self.settings().items():
            args += ["--set", f"{key}={value}"]
        child = subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment(), text=True)
        wait_until(lambda: len(read_all(self.kafka, topic)) > 2, 20, "the first events")
        child.send_signal(signal.SIGINT)
        out, _ = child.communicate(timeout=20)
        self.assertEqual(child.returncode, 0)
        told = json.loads(out)
        self.assertTrue(told["stopped"])
        self.assertEqual(len(read_all(self.kafka, topic)), told["sent"])

    def test_what_cannot_work_is_said(self):
        _, to = self.dataset(WEB)
        path = self.file("rows.jsonl", "")
        self.assertEqual(self.produce(*to, path).json["sent"], 0)
        self.assertRegex(self.produce(*to, self.folder / "nowhere.csv", code=65).err, r"nowhere\.csv")
        definition = {**WEB, "topic": "not.there"}
        other = self.file("other.json", json.dumps(definition))
        self.assertRegex(self.produce("--dataset", "web", "-f", other, path, code=69).err, r"not\.there")
        by_key = self.file("key.json", json.dumps({**WEB, "person": {"namespace": "n", "id": {"kafka": "key"}}}))
        self.assertRegex(self.produce("--dataset", "web", "-f", by_key, path, code=64).err, "person id")

    def test_synthetic(self):
        create_topic(self.kafka, "bench.events", 4)
        done = self.produce("--synthetic", "--topic", "bench.events", "--events", "20000", "--persons", "1000", "--seed", "3")
        self.assertEqual(done.json["sent"], 20000)
        with open(ROOT / "bench" / "event.avsc") as file:
            schema = json.load(file)
        records = read_all(self.kafka, "bench.events")
        ids = set()
        for record in records:
            self.assertEqual(record.partition, partition_of(record.key, 4))
            event = fastavro.schemaless_reader(io.BytesIO(record.value), schema)
            self.assertEqual(record.key.decode(), f"{event['namespace']}:{event['personId']}")
            ids.add(event["eventId"])
        self.assertEqual(len(records), 20000)
        self.assertAlmostEqual((20000 - len(ids)) / 20000, 0.01, delta=0.003)


if __name__ == "__main__":
    unittest.main()
