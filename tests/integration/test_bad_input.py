"""What cannot be used: to the dead letters with the reason and the untouched bytes, counted, and nothing else is lost. What cannot
be applied: a clear error, and nothing is changed."""

import json
import struct
import time
import unittest

from support import Kafka, Registry, confluent_frame, encode, eventually, partition_of, produce, read_all, topic_partitions, wait_until
from support.recompute import Changes, now_ms
from support.site import Pipeline, audience, dataset, event, of_type, segment

DAY_MS = 86_400_000
MIB = 1 << 20

EVENT = {"type": "record", "name": "Event", "fields": [
    {"name": "user", "type": ["null", "string"]}, {"name": "ts", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}]},
    {"name": "type", "type": "string"}, {"name": "amount", "type": ["null", "double"], "default": None}]}  # fmt: skip
# What another team writes: fields in another order, one more, one narrower.
WRITER = {"type": "record", "name": "Event", "fields": [
    {"name": "extra", "type": {"type": "array", "items": "int"}}, {"name": "type", "type": "string"}, {"name": "amount", "type": "int"},
    {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-millis"}}, {"name": "user", "type": "string"}]}  # fmt: skip
FOREIGN = {"type": "record", "name": "Event", "fields": [{"name": "user", "type": "boolean"}, {"name": "type", "type": "string"}]}


def setUpModule():
    global KAFKA
    KAFKA = Kafka({"message.max.bytes": 8 * MIB}).start()
    unittest.addModuleCleanup(KAFKA.close)


def avro_dataset(id, **more):
    return dataset(id, format="avro", schema="event.avsc", fields={
        "type": {"path": "type", "type": "string"}, "amount": {"path": "amount", "type": "decimal", "min": 0}}, **more)  # fmt: skip


def pad(value, size):
    """The JSON value with a `padding` that makes it `size` bytes."""
    bare = json.dumps({**value, "padding": ""})
    return json.dumps({**value, "padding": "x" * (size - len(bare))}).encode()


class DeadLetterTest(unittest.TestCase):
    """One pipeline with a JSON, a plain Avro and a framed Avro dataset; good events before, between and after the bad ones."""

    @classmethod
    def setUpClass(cls):
        cls.kafka = KAFKA
        cls.registry = Registry().__enter__()
        cls.addClassCleanup(cls.registry.__exit__)
        cls.site = Pipeline(cls.kafka, settings={"registry.url": cls.registry.url})
        cls.addClassCleanup(cls.site.close)
        cls.site.write("event.avsc", EVENT)
        datasets = [
            dataset("web", where={"not": {"field": "type", "eq": "foreign"}}, fields={
                **dataset()["fields"], "lenient": {"path": "lenient", "type": "long", "on_bad": "no_value"}}),
            avro_dataset("plain"), avro_dataset("framed", framing="confluent"),
        ]  # fmt: skip
        ids = [d["id"] for d in datasets]
        cls.site.define(*datasets, segment("seen", {"event": {"field": "type", "eq": "good"}, "count": {"ge": 2}, "window": "1h"}, ids), audience("seen"))
        cls.site.start("ingest", ready=False)
        cls.site.start("materialize", ready=False)
        cls.ingest, cls.materialize = cls.site.processes
        cls.ingest.wait_ready()
        cls.materialize.wait_ready()
        cls.expected = {}  # (topic, partition, offset): (reason, record)
        cls.good = set()

    def setUp(self):
        self.number = len(self.good)

    def send(self, dataset_id, bad, good, ignored=()):
        """A good event of a new person before and one after each record of `bad`, [(reason, record)]; a record: dict of produce, or
        the value alone, which goes to partition 0 with the key k. `good(user)` gives a good record's value."""
        user = f"{dataset_id}-{self.id().rpartition('.')[2]}"
        records, reasons = [], []
        for reason, record in [*bad, *((None, r) for r in ignored)]:
            for r in ({"key": f"id:{user}".encode(), "value": good(user)}, record if isinstance(record, dict) else {"key": b"k", "value": record, "partition": 0}):
                records.append(r)
            reasons += [None, reason]
        records.append({"key": f"id:{user}".encode(), "value": good(user)})
        reasons.append(None)
        topic = f"{dataset_id}.events"
        for record, reason, (partition, offset) in zip(records, reasons, produce(self.kafka, topic, records)):
            if reason:
                self.expected[topic, partition, offset] = (reason, record)
        type(self).good.add(user)
        self.check()

    def dead(self):
        return {(d.headers["source.topic"].decode(), int(d.headers["source.partition"]), int(d.headers["source.offset"])): d
                for d in read_all(self.kafka, "rollcall.deadletters")}  # fmt: skip

    def check(self):
        """All that was ever expected is there, nothing else is, and all good people are members."""
        dead = wait_until(lambda: len(d := self.dead()) >= len(self.expected) and d, 30, lambda: f"{len(self.expected)} dead letters, there are {len(self.dead())}:"
                          f" missing {[(k, v[0]) for k, v in self.expected.items() if k not in self.dead()]}")  # fmt: skip
        eventually(lambda: self.assertEqual({c.person for c in Changes(self.kafka)}, {("id", user) for user in self.good}), 20)
        self.assertEqual({k: v.headers["reason"].decode() for k, v in dead.items()}, {k: v[0] for k, v in self.expected.items()})
        for place, (reason, record) in self.expected.items():
            letter = dead[place]
            self.assertEqual((letter.key, letter.value), (record["key"], record["value"]), reason)
            self.assertTrue(letter.headers["detail"], reason)
            self.assertRegex(letter.headers["source.timestamp"].decode(), r"^\d{13}$")
            self.assertRegex(letter.headers["attempts"].decode(), r"^\d+$")
            for name, value in record.get("headers", []):
                self.assertEqual(letter.headers[name], value)
        by_reason = {}
        for reason, _ in self.expected.values():
            by_reason[reason] = by_reason.get(reason, 0) + 1
        for reason, n in by_reason.items():
            self.assertEqual(self.ingest.metric("rollcall_ingest_dead_letters_total", reason=reason), n, reason)

    def test_json(self):
        ts = now_ms()

        def good(user):
            return event(user, now_ms(), "good")[1]

        def value(**changes):
            whole = {"user": "bad", "ts": ts, "type": "view", **changes}
            return json.dumps({k: v for k, v in whole.items() if v != "left out"}).encode()

        home = partition_of(b"id:bad", 4)
        self.send("web", [
            ("broken json", b'{"user": "bad", "ts":'),
            ("broken json", b""),
            ("broken json", b"[1, 2]"),
            ("broken json", b'{"user": "b\xff", "ts": 1, "type": "view"}'),
            ("broken json", b"[" * 100_000),
            ("missing person", value(user="left out")),
            ("missing person", value(user=None)),
            ("missing person", value(user="")),
            ("ambiguous person", value(user=["a", "b"])),
            ("bad person", value(user={"id": "a"})),
            ("bad person", value(user=1.5)),
            ("missing timestamp", value(ts="left out")),
            ("missing timestamp", value(ts=None)),
            ("bad timestamp", value(ts="yesterday")),
            ("bad timestamp", value(ts=10**18)),
            ("timestamp in the future", {"key": b"id:bad", "value": value(ts=ts + 2 * DAY_MS), "partition": home, "headers": [("trace", b"\x00\xff")]}),
            ("bad value", value(n="7")),
            ("bad value", value(n=1.5)),
            ("bad value", value(amount=-0.01)),
            ("bad value", value(amount=1e13)),
            ("bad value", value(page=7)),
            ("wrong partition", {"key": b"id:bad", "value": value(), "partition": (home + 1) % 4}),
        ], good)  # fmt: skip

    def test_what_is_no_bad_record(self):
        """Null values and foreign records are ignored and counted; a lenient field's bad value is none."""
        ts = now_ms()
        home = partition_of(b"id:fine", 4)
        fine = lambda **more: {"key": b"id:fine", "value": event("fine", ts, "view", **more)[1], "partition": home}  # noqa: E731
        self.send("web", [], lambda user: event(user, now_ms(), "good")[1], ignored=[
            {"key": b"id:gone", "value": None, "partition": 0},
            json.dumps({"type": "foreign", "user": 7, "ts": "never"}).encode(),
            fine(lenient="many"), fine(lenient=[1, "x"]), fine(n=None), fine(amount=0), fine(unknown={"deep": []}),
            # Ahead by less than 24 h, and far in the past.
            {**fine(), "value": event("fine", ts + DAY_MS - 60_000)[1]}, {**fine(), "value": event("fine", 1)[1]},
        ])  # fmt: skip
        self.assertEqual(self.ingest.metric("rollcall_ingest_ignored_total"), 2)
        self.assertEqual(self.ingest.metric("rollcall_ingest_no_value_total"), 2)

    def test_a_record_over_one_mebibyte(self):
        ts = now_ms()
        self.send("web", [("record too large", pad({"user": "bad", "ts": ts, "type": "view"}, size)) for size in (MIB + 1, 3 * MIB)],
                  lambda user: event(user, now_ms(), "good")[1])  # fmt: skip
        # Exactly one MiB is not over it.
        user = f"id:{sorted(self.good)[0]}"
        home = partition_of(user.encode(), 4)
        produce(self.kafka, "web.events", [{"key": user.encode(), "value": pad({"user": user[3:], "ts": ts, "type": "view"}, MIB), "partition": home}])
        self.check()

    def test_plain_avro(self):
        def datum(**changes):
            return encode(EVENT, {"user": "bad", "ts": now_ms(), "type": "view", **changes})

        whole = datum()
        self.send("plain", [
            *(("broken avro", whole[:n]) for n in (0, 1, 3, 6, len(whole) - 1)),
            ("broken avro", whole + b"\x00"),
            ("broken avro", b"\x09" + whole[1:]),
            ("missing person", datum(user=None)),
            ("missing person", datum(user="")),
            ("missing timestamp", datum(ts=None)),
            ("timestamp in the future", {"key": b"id:bad", "value": datum(ts=now_ms() + 2 * DAY_MS), "partition": partition_of(b"id:bad", 4)}),
            ("bad value", datum(amount=-1.0)),
            ("bad value", datum(amount=float("nan"))),
        ], lambda user: encode(EVENT, {"user": user, "ts": now_ms(), "type": "good"}))  # fmt: skip

    def test_framed_avro_and_the_registry(self):
        own = self.registry.register("framed.events-value", EVENT)
        other = self.registry.register("framed.events-value", WRITER)
        foreign = self.registry.register("elsewhere-value", FOREIGN)

        def good(user):
            self.turn = not getattr(self, "turn", False)
            if self.turn:
                return confluent_frame(own, encode(EVENT, {"user": user, "ts": now_ms(), "type": "good"}))
            return confluent_frame(other, encode(WRITER, {"user": user, "ts": now_ms(), "type": "good", "amount": 3, "extra": [1]}))

        datum = encode(EVENT, {"user": "bad", "ts": now_ms(), "type": "view"})
        self.send("framed", [
            ("broken framing", b"\x00\x00"),
            ("broken framing", b"\x01" + struct.pack(">I", own) + datum),
            ("wrong schema id", confluent_frame(4711, datum)),
            ("schema mismatch", confluent_frame(foreign, encode(FOREIGN, {"user": True, "type": "view"}))),
            ("broken avro", confluent_frame(own, datum[:-2])),
        ], good)  # fmt: skip
        # A registry that is away for a while makes nothing bad: the event waits.
        late = self.registry.register("framed.events-value", {**WRITER, "doc": "a third one"})
        self.registry.fail(503, times=4)
        for user in ("framed-late",) * 2:
            produce(self.kafka, "framed.events", [(f"id:{user}".encode(), confluent_frame(late, encode(WRITER, {
                "user": user, "ts": now_ms(), "type": "good", "amount": 3, "extra": []})))])  # fmt: skip
        type(self).good.add("framed-late")
        self.check()

    def test_status_tells_of_them(self):
        self.send("web", [("broken json", b"{")], lambda user: event(user, now_ms(), "good")[1])
        eventually(lambda: self.assertIn("broken json", self.site.run("status").out), 5)


class ApplyTest(unittest.TestCase):
    """Errors of `apply` name the file, the path, what was found, what was expected and the nearest known word; exit 65, and nothing is changed."""

    @classmethod
    def setUpClass(cls):
        cls.kafka = KAFKA

    def setUp(self):
        prefix = "a-" + self.id().rpartition(".")[2].replace("_", "-")
        self.site = Pipeline(self.kafka, settings={"topics.prefix": prefix})
        self.addCleanup(self.site.close)
        self.before = topic_partitions(self.kafka)

    def test_wrong_definitions(self):
        viewed = of_type("view")
        cases = [
            ([dataset(), segment("s", {"event": {"feild": "type", "eq": "x"}})], ["where.event", '"feild"', "field"]),
            ([dataset(), segment("s", {"event": {"field": "tipe", "eq": "x"}})], ["where.event.field", '"tipe"', "type"]),
            ([dataset(), segment("s", {"event": {"field": "n", "eq": "x"}})], ["where.event.eq", "long"]),
            ([dataset(), segment("s", {"event": {"field": "type", "eq": 7}})], ["where.event.eq", "7", "string"]),
            ([dataset(), segment("s", viewed, window="7 days")], ["window", "7 days"]),
            ([dataset(), segment("s", viewed, windows="7d")], ['"windows"', "window"]),
            ([dataset(), segment("s", {"envent": {}})], ['"envent"', "event"]),
            ([dataset(), segment("s", {"event": {}, "count": {"ge": 1, "le": 2, "ne": 3}})], ["count"]),
            ([dataset(), segment("s", viewed, dataset="wbe")], ["dataset", '"wbe"', "web"]),
            ([dataset(), segment("s", viewed), audience("a", {"segment": "z"})], ["where.segment", '"z"']),
            ([dataset(), segment("s", viewed), audience("a", {"event": {}})], ['"event"']),
            ([dataset(), segment("A", viewed)], ["id", '"A"']),
            ([{**dataset(), "id": "x" * 64}], ["id"]),
            ([{k: v for k, v in dataset().items() if k != "topic"}], ["topic"]),
            ([dataset(format="avor")], ["format", '"avor"', "avro"]),
            ([dataset(format="avro")], ["schema"]),
            ([dataset(timezone="Europe/Stokholm")], ["timezone", "Europe/Stokholm"]),
            ([dataset(timestamp={"path": "ts", "unit": "min"})], ["timestamp.unit", '"min"']),
            ([dataset(fields={"a": {"path": "a", "type": "integer"}})], ["fields.a.type", '"integer"']),
            ([{"kind": "segmet", "id": "s"}], ["kind", '"segmet"', "segment"]),
            ([dataset(), segment("s", {"segment": "t"}), segment("t", {"segment": "s"})], ["cycle"]),
            ([dataset(), segment("s", viewed), segment("s", viewed)], ['"s"', "twice"]),
            (["no object"], ["[0]"]),
        ]
        for definitions, words in cases:
            with self.subTest(words):
                result = self.site.define(*definitions, code=65)
                self.assertIn("defined.json", result.err)
                self.assertEqual(result.out, "")
                self.assertEqual(result.err.count("\n"), 1, result.err)
                for word in words:
                    self.assertIn(word, result.err)
        self.assertEqual(topic_partitions(self.kafka), self.before)

    def test_broken_files(self):
        for name, text, words in [
            ("cut.json", '[{"kind": "segment",\n  "id": ', ["cut.json", "2"]),
            ("twice.json", '{"kind": "segment", "id": "a", "id": "b"}', ["twice.json"]),
            ("bytes.json", "\x00", ["bytes.json"]),
            ("number.json", "7", ["number.json"]),
            ("none.json", "", ["none.json"]),
        ]:
            with self.subTest(name):
                result = self.site.run("apply", "-f", self.site.write(name, text), code=65)
                for word in words:
                    self.assertIn(word, result.err)

    def test_one_wrong_file_of_many_changes_nothing(self):
        good, bad = self.site.folder / "good", self.site.folder / "bad"
        self.site.write("good/a.json", [dataset(), segment("s", of_type("view"))])
        self.site.write("bad/b.json", audience("a", {"segment": "t"}))
        result = self.site.run("apply", "-f", good, "-f", bad, code=65)
        self.assertIn("b.json", result.err)
        self.assertEqual(topic_partitions(self.kafka), self.before)
        self.site.run("apply", "-f", good)
        self.site.run("apply", "-f", good, "-f", bad, code=65)
        self.assertEqual([(r["kind"], r["id"]) for r in self.site.run("get", "--json").rows], [("dataset", "web"), ("segment", "s")])

    def test_what_cannot_change_in_place(self):
        self.site.define(dataset(), segment("s", of_type("view")))
        for change in ({"person": {"namespace": "other", "id": {"path": "user"}}}, {"timestamp": {"path": "time"}}, {"event_id": {"path": "eid"}}):
            result = self.site.define(dataset(**change), code=65)
            for word in ("defined.json", '"web"', next(iter(change))):
                self.assertIn(word, result.err)
        self.site.define(dataset(description="new", fields={**dataset()["fields"], "more": {"path": "m", "type": "long"}}))


if __name__ == "__main__":
    unittest.main()
