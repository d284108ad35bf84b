"""`rollcall deadletters`: what was set aside is listed, shown, and sent again once the definition is mended; it counts once however often
it is sent, and what is still bad comes back with its attempts counted."""

import collections
import json
import re
import signal
import subprocess
import time
import unittest

from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource
from support import Kafka, Redis, encode, end_offsets, eventually, partition_of, produce, read_all, wait_until
from support.program import BINARY, _settings, environment
from support.recompute import now_ms
from support.site import Pipeline, audience, dataset, event, of_type, segment

EVENT = {"type": "record", "name": "Event", "fields": [
    {"name": "user", "type": ["null", "string"]}, {"name": "ts", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}]},
    {"name": "type", "type": "string"}, {"name": "amount", "type": ["null", "double"], "default": None}]}  # fmt: skip
CALLS = {"keyed": False, "topic": "calls.raw"}
COUNTS = range(1, 8)
MANY = 4000


def setUpModule():
    global KAFKA
    KAFKA = Kafka({"message.max.bytes": 8 << 20}).start()
    unittest.addModuleCleanup(KAFKA.close)


def value(user, **more):
    return event(user, now_ms(), **more)[1]


class Case(unittest.TestCase):
    """An installation with a prefix of its own. Nothing has an event id: an event is known by where it first lay."""

    def setUp(self):
        self.prefix = "d-" + self.id().rpartition(".")[2].replace("_", "-")[5:25].strip("-")
        self.site = Pipeline(KAFKA, settings={"topics.prefix": self.prefix, "group.prefix": self.prefix, "checkpoint.interval": "300ms"})
        self.addCleanup(self.site.close)

    def define(self, *datasets, **more):
        """Datasets with topics of this installation, and an audience for each number of events that a person may have."""
        self.ids = [d["id"] for d in datasets]
        self.datasets = [{**d, "topic": f"{self.prefix}.{d['topic']}"} for d in datasets]
        self.site.define(*self.datasets, *[d for n in more.pop("counts", COUNTS) for d in (
            segment(f"n-{n}", {"event": {"field": "type", "eq": "good"}, "count": {"eq": n}}, self.ids), audience(f"n-{n}"))])  # fmt: skip

    def start(self):
        self.site.start("ingest", ready=False)
        self.site.start("materialize", ready=False)
        self.ingest, self.materialize = self.site.processes
        self.ingest.wait_ready()
        self.materialize.wait_ready()

    def send(self, dataset_id, *records):
        """[id of the place] of records given as values (to partition 0, key k) or dicts."""
        topic = f"{self.prefix}.{dataset_id}"
        placed = produce(KAFKA, topic, [r if isinstance(r, dict) else {"key": b"k", "value": r, "partition": 0} for r in records])
        return [(topic, partition, offset) for partition, offset in placed]

    def letters(self, *args, **more):
        return self.site.run("deadletters", "list", "--json", *args, **more).rows

    def wait_letters(self, n, *args):
        return wait_until(lambda: len(rows := self.letters(*args)) >= n and rows, 30, lambda: f"{n} dead letters, there are {self.letters(*args)}")

    def redrive(self, *args, **more):
        return self.site.run("deadletters", "redrive", "--json", *args, **more)

    def counted(self, wanted, timeout=30, counts=COUNTS):
        """Each person of `wanted` has exactly that many events, and nobody else any."""

        def look():
            found = {}
            for n in counts:
                for row in self.site.run("members", f"n-{n}", "--json").rows:
                    found[row["id"]] = n
            self.assertEqual(found, wanted)

        eventually(look, timeout, interval=0.3)


class ListTest(Case):
    def test_list_and_show(self):
        self.site.write("event.avsc", EVENT)
        self.define(dataset("web", topic="web", grace="0s"), dataset("shop", topic="shop", format="avro", schema="event.avsc", fields={
            "type": {"path": "type", "type": "string"}, "amount": {"path": "amount", "type": "decimal", "min": 0}}), dataset("calls", **CALLS))  # fmt: skip
        self.start()
        home = partition_of(b"id:ann", 4)
        away = (home + 1) % 4
        before = now_ms()
        web = self.send("web", b'{"user": ', value(None), value("ann", amount=-1), b"\x00\xff\x01",
                        {"key": b"id:ann", "value": value("ann"), "partition": away, "headers": [("trace", b"\x00\x01"), ("reason", b"mine")]})  # fmt: skip
        (huge,) = self.send("web", {"key": b"k", "partition": 0, "value": json.dumps({"user": "x", "pad": "y" * (1 << 20)}).encode()})
        shop = self.send("shop", b"\x02", encode(EVENT, {"user": None, "ts": now_ms(), "type": "view"}))
        raw = self.send("calls.raw", {"key": None, "value": value(None), "partition": 2})
        reasons = dict(zip([*web, huge, *shop, *raw], [
            "broken json", "missing person", "bad value", "broken json", "wrong partition", "record too large", "broken avro", "missing person",
            "missing person"]))  # fmt: skip
        rows = self.wait_letters(len(reasons))

        self.assertEqual({(r["source"]["topic"], r["source"]["partition"], r["source"]["offset"]): r["reason"] for r in rows}, reasons)
        self.assertEqual([r["time"] for r in rows], sorted(r["time"] for r in rows))
        for row in rows:
            self.assertEqual((row["state"], row["attempts"]), ("dead", 1))
            self.assertTrue(row["detail"])
            self.assertLessEqual(abs(row["time"] - before), 60_000)
            self.assertLessEqual(abs(row["source"]["timestamp"] - before), 60_000)
            self.assertEqual(list(row), ["id", "time", "state", "reason", "detail", "source", "attempts"])

        def chosen(*args):
            return sorted(r["reason"] for r in self.letters(*args))

        self.assertEqual(chosen("--reason", "broken json"), ["broken json"] * 2)
        self.assertEqual(chosen("--dataset", "shop"), ["broken avro", "missing person"])
        self.assertEqual(chosen("--dataset", "calls"), ["missing person"])
        self.assertEqual(chosen("--topic", f"{self.prefix}.web", "--partition", away), ["wrong partition"] + (["bad value", "broken json", "broken json", "missing person", "record too large"] if away == 0 else []))  # fmt: skip
        self.assertEqual(chosen("--since", "10m"), sorted(reasons.values()))
        self.assertEqual(chosen("--until", "10m"), [])
        self.assertEqual(chosen("--since", "2020-01-31T09:15:00Z", "--until", "2020-02-01T00:00:00Z"), [])
        self.assertEqual(chosen("--state", "redriven"), [])
        newest = self.site.run("deadletters", "list", "--json", "--limit", "2")
        self.assertEqual([r["id"] for r in newest.rows], [r["id"] for r in rows[-2:]])
        self.assertIn(f"{len(rows) - 2} older ones left out", newest.err)
        summary = self.site.run("deadletters", "list", "--summary", "--json").rows
        self.assertEqual(collections.Counter({r["reason"]: 0 for r in summary}) + collections.Counter(reasons.values()),
                         sum((collections.Counter({r["reason"]: r["dead"]}) for r in summary), collections.Counter()))  # fmt: skip
        table = self.site.run("deadletters", "list").out
        for row in rows:
            self.assertRegex(table, rf"(?m)^{row['id']} +\S+Z +dead +{row['reason']} +{re.escape(row['source']['topic'])} \[")
        self.assertRegex(self.site.run("deadletters", "list", "--summary").out, rf"(?m)^broken json +{re.escape(self.prefix)}\.web +2 +0 ")

        ids = {(r["source"]["topic"], r["source"]["partition"], r["source"]["offset"]): r["id"] for r in rows}

        def show(place, *args):
            return self.site.run("deadletters", "show", ids[place], *args)

        one = show(web[4], "--json").json
        self.assertEqual((one["id"], one["keyFormat"], one["key"], one["valueFormat"]), (ids[web[4]], "text", "id:ann", "text"))
        self.assertEqual(json.loads(one["value"])["user"], "ann")
        headers = [(h["name"], h["value"]) for h in one["headers"]]
        self.assertEqual(headers[:3], [("trace", "0001"), ("reason", "mine"), ("reason", "wrong partition")])
        self.assertIn(("attempts", "1"), headers)
        one = show(shop[1], "--json").json
        self.assertEqual((one["valueFormat"], one["value"]["user"], one["value"]["type"]), ("avro", None, "view"))
        self.assertEqual(show(web[3], "--json").json["value"], "00ff01")
        self.assertIn("00 ff 01", show(web[3]).out)
        self.assertIn('"type": "view"', show(shop[1]).out)
        self.assertIn("reason: missing person", show(raw[0]).out)
        self.assertIn("key: none", show(raw[0]).out)
        untouched = subprocess.run([BINARY, "deadletters", "show", ids[web[3]], "--raw", *_settings(self.site.settings)], stdout=subprocess.PIPE,
                                   env=environment(), check=True).stdout  # fmt: skip
        self.assertEqual(untouched, b"\x00\xff\x01")

        for args, code, words in [
            (["show", "7"], 64, "PARTITION:OFFSET"),
            (["show", "1:x"], 64, "PARTITION:OFFSET"),
            (["show"], 64, "wants one"),
            (["show", "0:999999"], 65, "0:999999"),
            (["redrive", "0:999999"], 65, "0:999999"),
            (["redrive", "0:1", "--reason", "broken json"], 64, "--reason"),
            (["list", "--reason", "broken jsn"], 64, '"broken json"'),
            (["list", "--since", "yesterday"], 64, "--since"),
            (["list", "--dataset", "wbe"], 65, "web"),
            (["list", "--dataset", "web", "--topic", "x"], 64, "exclude"),
            (["list", "--raw"], 64, "show"),
            (["list", "--state", "alive"], 64, "dead or redriven"),
            (["list", "0:1"], 64, "one argument too many"),
            (["lst"], 64, "list, show or redrive"),
            ([], 64, "wants list"),
        ]:
            with self.subTest(args):
                self.assertIn(words, self.site.run("deadletters", *args, code=code).err)
        self.site.run("deadletters", "list", settings={"kafka.bootstrap.servers": "127.0.0.1:1"}, code=69, timeout=30)

    def test_no_topic_yet(self):
        self.assertEqual(self.site.run("deadletters", "list", "--json").out, "")
        self.assertIn("nothing to send again", self.site.run("deadletters", "redrive").err)


class RedriveTest(Case):
    def mend(self):
        """A negative amount is a value like others from now on."""
        fields = {**dataset()["fields"], "amount": {"path": "amount", "type": "decimal"}}
        self.define(*[{**d, "topic": d["topic"].removeprefix(self.prefix + "."), "fields": fields} for d in self.datasets])

    def test_a_mended_definition(self):
        self.define(dataset("web", topic="web"), dataset("calls", **CALLS))
        self.start()
        home = partition_of(b"id:ann", 4)
        bad = [value("ann", type="good", amount=-n) for n in (1, 2, 3)]
        (lost,) = self.send("web", {"key": b"id:ann", "value": value("ann", type="good"), "partition": (home + 1) % 4, "headers": [("trace", b"7")]})
        stamp = now_ms() - 36_000_000
        self.send("web", *[{"key": b"id:ann", "value": v, "partition": home, "timestamp": stamp} for v in bad])
        (broken,) = self.send("web", b"{")
        self.send("calls.raw", *[{"key": b"any", "value": value("bob", type="good", amount=-n), "partition": 1} for n in (1, 2)])
        self.send("web", {"key": b"id:cat", "value": value("cat", type="good")})
        letters = self.wait_letters(7)
        self.counted({"cat": 1})
        ends = end_offsets(KAFKA, f"{self.prefix}.web")

        dry = self.redrive("--dry-run").rows
        self.assertEqual(sorted(r["verdict"].split(":")[0] for r in dry), ["good"] + ["still bad"] * 6)
        self.assertEqual({r["state"] for r in dry}, {"dry run"})
        self.mend()
        dry = self.redrive("--dry-run").rows
        self.assertEqual(sorted(r["verdict"].split(":")[0] for r in dry), ["good"] * 6 + ["still bad"])
        self.assertEqual(end_offsets(KAFKA, f"{self.prefix}.web"), ends)
        # What goes by the new definition is read by an ingest that has it.
        eventually(lambda: self.assertEqual(max(r["version"] for r in self.site.run("get", "dataset", "--json").rows), 2), 10)
        time.sleep(1.5)

        # One by its id, twice in one call; then what is left, by filters.
        ((one, *_),) = [[r["id"] for r in letters if r["reason"] == "wrong partition"]]
        told = self.redrive(one, one).rows
        self.assertEqual([(r["id"], r["state"], r["topic"], r["partition"], r["attempts"], r["verdict"]) for r in told],
                         [(one, "redriven", lost[0], home, 2, "good")])  # fmt: skip
        self.counted({"cat": 1, "ann": 1})
        again = self.redrive(one)
        self.assertEqual((again.rows, again.code), ([], 0))
        self.assertIn(f"{one} was sent again already", again.err)
        self.assertEqual(len(self.redrive("--reason", "bad value", "--limit", "4").rows), 4)
        self.assertEqual(len(self.redrive("--reason", "bad value").rows), 1)
        self.counted({"cat": 1, "ann": 4, "bob": 2})

        # The record that was sent: untouched, its own timestamp and headers, and where it first lay.
        sent = [r for r in read_all(KAFKA, f"{self.prefix}.web") if "rollcall.topic" in r.headers]
        self.assertEqual(len(sent), 4)
        self.assertEqual({r.partition for r in sent}, {home})
        self.assertEqual(sorted(r.timestamp for r in sent)[:3], [stamp] * 3)
        ((first,),) = [[r for r in sent if r.headers["rollcall.offset"] == str(lost[2]).encode() and r.headers["rollcall.partition"] == str(lost[1]).encode()]]
        self.assertEqual(first.headers, {"trace": b"7", "rollcall.topic": lost[0].encode(), "rollcall.partition": str(lost[1]).encode(),
                                         "rollcall.offset": str(lost[2]).encode(), "rollcall.attempts": b"2"})  # fmt: skip
        self.assertEqual(first.key, b"id:ann")

        # The broken one comes back, with its attempts, from where it first lay; as often as it is sent.
        for attempt in (2, 3):
            (row,) = self.redrive("--reason", "broken json").rows
            self.assertEqual(row["attempts"], attempt)
            back = self.wait_letters(attempt, "--reason", "broken json")
            self.assertEqual([(r["attempts"], r["state"]) for r in back], [(n, "redriven") for n in range(1, attempt)] + [(attempt, "dead")])
            self.assertEqual({(r["source"]["topic"], r["source"]["partition"], r["source"]["offset"]) for r in back}, {broken})
        self.assertEqual([r["reason"] for r in self.letters("--state", "dead")], ["broken json"])
        for letter in read_all(KAFKA, f"{self.prefix}.deadletters"):
            self.assertNotIn("rollcall.topic", letter.headers)

        # Even when everything is sent once more it counts once: also by an ingest that knows nothing of before.
        everything = self.redrive("--again").rows
        self.assertEqual(len(everything), 9)
        time.sleep(1)
        self.ingest.kill()
        self.site.start("ingest", name="another")
        self.counted({"cat": 1, "ann": 4, "bob": 2}, 40)

    def dead_letters_take(self, size):
        """The dead letter topic takes records up to this size."""
        wanted = ConfigResource(ConfigResource.Type.TOPIC, f"{self.prefix}.deadletters", incremental_configs=[
            ConfigEntry("max.message.bytes", str(size), incremental_operation=AlterConfigOpType.SET)])  # fmt: skip
        for done in KAFKA.admin.incremental_alter_configs([wanted]).values():
            done.result(10)
        time.sleep(0.5)

    def test_kill_in_the_midst(self):
        """Killed as often as it takes: nothing is lost, nothing counts twice."""
        self.define(dataset("web", topic="web"), counts=[MANY // 40])
        self.start()
        users = [f"u{n}" for n in range(40)]
        self.send("web", *[dict(zip(("key", "value"), event(users[n % 40], now_ms(), "good", amount=-1))) for n in range(MANY)])
        wait_until(lambda: sum(r["dead"] for r in self.site.run("deadletters", "list", "--summary", "--json").rows) == MANY, 60, "all to be dead")
        fields = {**dataset()["fields"], "amount": {"path": "amount", "type": "decimal"}}
        self.define(dataset("web", topic="web", fields=fields), counts=[MANY // 40])
        time.sleep(1.5)

        def size(topic):
            return sum(end_offsets(KAFKA, f"{self.prefix}.{topic}").values())

        command = [BINARY, "deadletters", "redrive", *_settings(self.site.settings)]
        before = size("web")
        # Records are out, and the broker takes no mark: the moment between the two.
        self.dead_letters_take(1)
        failed = self.redrive(code=(69, 70, 65))
        self.assertEqual(failed.out, "")
        self.assertIn("deadletters", failed.err)
        self.assertGreater(size("web"), before)
        self.dead_letters_take(64 << 20)
        self.assertEqual(len(self.letters("--state", "dead")), MANY)
        # Some are marked, and it is told; killed somewhere behind that.
        with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as running:
            self.assertIn(b"redriven", running.stdout.readline())
            running.send_signal(signal.SIGKILL)
        left = len(self.letters("--state", "dead"))
        self.assertIn(left, range(1, MANY))
        self.assertEqual(len(self.redrive().rows), left)
        self.assertEqual(self.redrive().rows, [])
        print(f"{size('web') - before} sent for {MANY}", flush=True)
        self.assertGreater(size("web") - before, MANY)
        self.counted({user: MANY // 40 for user in users}, counts=[MANY // 40])
        time.sleep(1)
        self.counted({user: MANY // 40 for user in users}, counts=[MANY // 40])
        self.assertEqual(self.letters("--state", "dead"), [])


class SinkTest(Case):
    def test_memberships_that_cannot_be_read(self):
        """They go to the dead letters before the sink goes on, and are not sent again: on a compacted topic they would win."""
        with Redis() as redis:
            self.site.settings["sink.default"] = redis.url
            self.define(dataset("web", topic="web"))
            self.start()
            sink = self.site.start("sink")
            memberships = f"{self.prefix}.memberships"
            placed = produce(KAFKA, memberships, [
                {"key": b"id:ann|n-1", "value": b"\x01\x02", "partition": 0}, {"key": b"nobody", "value": b"", "partition": 1},
                {"key": b"|", "value": b"x", "partition": 2}])  # fmt: skip
            rows = self.wait_letters(3, "--topic", memberships)
            self.assertEqual({(r["source"]["partition"], r["source"]["offset"]) for r in rows}, set(placed))
            self.assertEqual(sink.metric("rollcall_sink_bad_total"), 3)
            self.send("web", {"key": b"id:cat", "value": value("cat", type="good")})
            wait_until(lambda: redis.client("EXISTS", f"{self.prefix}:profile:id:cat"), 20, "the profile of cat")
            refused = self.redrive("--topic", memberships, code=65)
            self.assertEqual({(r["state"], r["partition"]) for r in refused.rows}, {("refused", None)})
            self.assertIn("no dataset reads topic", refused.out)
            self.assertEqual(len(self.letters("--state", "dead")), 3)
            # Not once more after a start.
            sink.terminate()
            sink.start()
            time.sleep(1)
            self.assertEqual(len(read_all(KAFKA, f"{self.prefix}.deadletters")), 3)


if __name__ == "__main__":
    unittest.main()
