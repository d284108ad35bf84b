"""The changelog of ingest's state, `<prefix>.state`: what is known survives the loss of the local disk although the events are gone,
partitions that move between processes, damaged files, damaged records and former owners that wake up; and what is said of it."""

import json
import shutil
import time
import unittest
from collections import defaultdict

from confluent_kafka import TopicPartition

from support import Kafka, create_topic, delete_topic, end_offsets, eventually, produce, read_all, wait_until
from support.recompute import Changes, assert_same_changes, assert_versions, naive, now_ms, _from_json
from support.site import SLOW, Pipeline, dataset, event, of_type, segment

GRACE_MS = 1000
SETTINGS = {"checkpoint.interval": "100ms", "kafka.session.timeout.ms": 6000}
PERSONS = 40
# Ever, within a window, and one that only time ends.
DEFINITIONS = [
    dataset(grace=f"{GRACE_MS}ms"),
    segment("buyers", of_type("buy")),
    segment("often", of_type("buy", count={"ge": 3}), window="4s"),
    segment("lately", of_type("view"), window="2500ms"),
]


class ChangelogTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # Records may be deleted from dataset topics (they have cleanup.policy=delete).
        cls.kafka = Kafka().start()
        cls.addClassCleanup(cls.kafka.close)

    def setUp(self):
        prefix = self.id().rpartition(".")[2].replace("_", "-")
        self.events, self.state, self.segments = f"{prefix}.events", f"{prefix}.state", f"{prefix}.segments"
        create_topic(self.kafka, self.events, 2)
        self.definitions = [{**d, "topic": self.events} if d["kind"] == "dataset" else d for d in DEFINITIONS]
        self.site = Pipeline(self.kafka, settings={**SETTINGS, "topics.prefix": prefix, "group.prefix": prefix})
        self.addCleanup(self.site.close)
        self.site.define(*self.definitions)
        self.kept = {}  # (partition, offset): every event ever sent
        self.sent = 0

    # --- load, and what is true of it

    def load(self, seconds=2.0):
        """Views and buys of all persons at the pace of the clock."""
        until, enough = time.monotonic() + seconds, self.sent + 40 * seconds
        while time.monotonic() < until or self.sent < enough:
            batch = []
            for _ in range(4):
                user = f"u{self.sent * 7 % PERSONS}"
                batch.append(event(user, now_ms(), "buy" if self.sent % 5 < 2 else "view", n=self.sent))
                self.sent += 1
            produce(self.kafka, self.events, batch)
            time.sleep(0.04)
        self.keep()

    def keep(self):
        for record in read_all(self.kafka, self.events):
            self.kept[record.partition, record.offset] = record

    def assert_exact(self, settle_s=2.0):
        """What was ever said is what is true, each once."""
        time.sleep(settle_s * SLOW)
        until = now_ms() - 1500 * SLOW
        evaluator = naive.load_definitions(self.definitions)
        records = [self.kept[key] for key in sorted(self.kept)]
        self.assertEqual(len(records), self.sent)
        evaluator.accept(
            "web", [_from_json(r.value) for r in records], event_ids=[f"{r.topic}:{r.partition:020}:{r.offset:020}" for r in records]
        )
        timeline = {(r["segment"], (r["namespace"], r["id"]), r["status"], r["since"]) for r in evaluator.timeline(until)}
        seen = [c for c in Changes(self.kafka, self.segments) if not c.target.startswith("_")]
        n = assert_same_changes(None, seen, until, timeline=timeline)
        assert_versions(seen)
        self.assertGreater(n, PERSONS)
        return n

    # --- the topic

    def lanes(self):
        """{partition: the last `lane` record}."""
        found = [r for r in read_all(self.kafka, self.state) if r.key == b"lane" and r.value != b"{"]
        return {r.partition: json.loads(r.value) for r in found}

    def epochs(self):
        """{partition: [epochs of the marks, in order]}"""
        found = defaultdict(list)
        for record in read_all(self.kafka, self.state):
            if record.key.startswith(b"epoch/"):
                found[record.partition].append(int(record.value))
        return found

    def wait_saved(self):
        """Until the state stands for all events."""

        def saved():
            ends, lanes = end_offsets(self.kafka, self.events), self.lanes()
            positions = {p: lane["inputs"][self.events]["position"] for p, lane in lanes.items()}
            self.assertEqual({p: end for p, end in ends.items() if end}, {p: at for p, at in positions.items() if at >= 0})

        eventually(saved, 20 * SLOW)

    def forget_events(self):
        """Deletes what the saved state stands for from the dataset's topic."""
        self.keep()
        upto = [TopicPartition(self.events, p, lane["inputs"][self.events]["position"]) for p, lane in self.lanes().items()]
        for future in self.kafka.admin.delete_records(upto).values():
            future.result(30)

    def lose_disk(self, process):
        shutil.rmtree(process.settings["state.dir"])

    def logged(self, process, text, since=0):
        return [line for line in process.log_text()[since:].splitlines() if text in line]

    # --- tests

    def test_a_lost_disk_and_lost_events(self):
        ingest = self.site.start("ingest")
        for loss in ("kill", "terminate"):
            self.load(3)
            self.wait_saved()
            getattr(ingest, loss)()
            self.lose_disk(ingest)
            self.forget_events()
            at = len(ingest.log_text())
            ingest.start()
            self.assertEqual(len(self.logged(ingest, "restored from the changelog", at)), 2, ingest.tail())
            self.assertFalse(self.logged(ingest, "WARN", at) + self.logged(ingest, "level=warn", at), ingest.tail())
        self.load(3)
        self.assert_exact()

    def test_a_partition_moves_away_and_back(self):
        a = self.site.start("ingest", name="a")
        self.load(2)
        self.wait_saved()
        a.kill()
        b = self.site.start("ingest", name="b")
        self.load(3)
        self.wait_saved()
        self.forget_events()
        b.kill()
        at = len(a.log_text())
        a.start()
        restored = self.logged(a, "restored from the changelog", at)
        self.assertEqual(len(restored), 2, a.tail())
        # It goes on from what it has; the rest is in the changelog.
        self.assertFalse(self.logged(a, "restoring from the changelog", at)[0].endswith("from=0"))
        self.assertNotIn(" from=0 ", self.logged(a, "restoring from the changelog", at)[0])
        self.load(2)
        self.assert_exact()

    def test_two_share_and_one_leaves(self):
        a = self.site.start("ingest", name="a")
        self.load(2)
        b = self.site.start("ingest", name="b")
        self.load(2)
        wait_until(lambda: b.metric("rollcall_ingest_partitions") >= 1, 30, "b to have a partition")
        a.kill()
        self.lose_disk(a)
        self.load(8)  # past the session's end
        wait_until(lambda: b.metric("rollcall_ingest_partitions") == 2, 30, "b to have both")
        self.load(2)
        self.assert_exact()

    def test_a_damaged_store(self):
        ingest = self.site.start("ingest")
        self.load(3)
        self.wait_saved()
        ingest.terminate()
        ingest.start()  # what was in the write-ahead log is in tables now
        self.wait_saved()
        ingest.kill()
        self.forget_events()
        tables = sorted((ingest.settings["state.dir"] / "ingest").glob("*.sst"))
        self.assertTrue(tables)
        for path in tables:
            raw = bytearray(path.read_bytes())
            for at in range(20, len(raw) // 2, 64):
                raw[at] ^= 0xFF
            path.write_bytes(raw)
        at = len(ingest.log_text())
        ingest.start()
        damaged = self.logged(ingest, "it is dropped and restored", at)
        self.assertEqual(len(damaged), 1, ingest.tail())
        self.assertIn(str(ingest.settings["state.dir"]), damaged[0])
        self.assertEqual(len(self.logged(ingest, "restored from the changelog", at)), 2, ingest.tail())
        self.load(2)
        self.assert_exact()

    # Partitions stand for themselves, so each of the two has a bad record of its own.

    def test_a_damaged_record_and_one_of_nobody(self):
        self.spoil((lambda person, _: {**person, "value": person["value"][:-3] + b"???"}, "checksum"),
                   (lambda person, _: {**person, "headers": []}, "header epoch"))  # fmt: skip

    def test_a_former_owner_that_wakes_up_and_a_lane_record_that_is_none(self):
        self.spoil((lambda person, _: {**person, "headers": [("epoch", b"1")]}, "former owner"),
                   (lambda _, partition: {"key": b"lane", "value": b"{", "partition": partition, "headers": [("epoch", b"9")]}, "no record of a lane"))  # fmt: skip

    def spoil(self, *each):
        """A bad record in the changelog is named when the changelog is needed, what it hurts is built again, and then it is whole."""
        ingest = self.site.start("ingest")
        self.load(2)
        ingest.terminate()
        ingest.start()
        self.load(1)
        self.wait_saved()
        ingest.kill()
        bad = []
        for partition, (spoilt, _) in enumerate(each):
            last = [r for r in read_all(self.kafka, self.state) if b":" in r.key and r.partition == partition][-1]
            bad.append(spoilt({"key": last.key, "value": last.value, "partition": partition, "headers": list(last.headers.items())}, partition))
        places = produce(self.kafka, self.state, bad)

        # The local state is whole, and nobody else has owned it: it is used, and written to the changelog anew.
        at = len(ingest.log_text())
        ingest.start()
        named = self.logged(ingest, "the changelog cannot be used", at)
        self.assertEqual(len(named), len(each), ingest.tail())
        for (partition, offset), (_, why) in zip(places, each):
            (line,) = [line for line in named if f" partition={partition} " in line]
            self.assertIn(f" offset={offset} ", line)
            self.assertIn(why, line)
            self.assertIn("the local state is", line)
        eventually(lambda: self.assertEqual(len(self.logged(ingest, "the state is in the changelog again", at)), len(each)), 20 * SLOW)
        self.load(1)
        self.wait_saved()
        ingest.kill()
        self.forget_events()
        self.lose_disk(ingest)
        at = len(ingest.log_text())
        ingest.start()
        self.assertEqual(len(self.logged(ingest, "restored from the changelog", at)), 2, ingest.tail())
        self.assertFalse(self.logged(ingest, "cannot be used", at), ingest.tail())
        self.load(1)
        self.wait_saved()
        self.assert_exact()

    def test_a_bad_record_and_a_lost_disk(self):
        """Only the events are left; then the changelog is whole again."""
        ingest = self.site.start("ingest")
        self.load(2)
        self.wait_saved()
        ingest.kill()
        first = next(r for r in read_all(self.kafka, self.state) if b":" in r.key)
        produce(self.kafka, self.state, [{"key": first.key, "value": b"garbage", "partition": first.partition}])
        self.lose_disk(ingest)
        at = len(ingest.log_text())
        ingest.start()
        named = self.logged(ingest, "the changelog cannot be used", at)
        self.assertEqual(len(named), 1, ingest.tail())
        self.assertIn("built again from the topics", named[0])
        self.load(1)
        self.wait_saved()
        ingest.kill()
        self.lose_disk(ingest)
        self.forget_events()
        at = len(ingest.log_text())
        ingest.start()
        self.assertEqual(len(self.logged(ingest, "restored from the changelog", at)), 2, ingest.tail())
        self.assertFalse(self.logged(ingest, "cannot be used", at), ingest.tail())
        self.load(1)
        self.assert_exact()

    def test_a_former_owner_that_wakes_up_beside_the_present_one(self):
        """Its records are written over at once, so a lost disk afterwards costs no events."""
        ingest = self.site.start("ingest")
        self.load(1)
        ingest.terminate()
        ingest.start()
        self.load(1)
        self.wait_saved()
        old = {r.key: r for r in reversed(read_all(self.kafka, self.state)) if b":" in r.key and r.headers["epoch"] == b"1"}
        self.assertTrue(old)
        produce(self.kafka, self.state, [{"key": r.key, "value": r.value, "partition": r.partition, "headers": list(r.headers.items())} for r in old.values()])
        self.load(1)
        eventually(lambda: self.assertEqual(ingest.metric("rollcall_ingest_healed_records_total"), len(old)), 20 * SLOW)
        self.wait_saved()
        ingest.kill()
        self.lose_disk(ingest)
        self.forget_events()
        at = len(ingest.log_text())
        ingest.start()
        self.assertEqual(len(self.logged(ingest, "restored from the changelog", at)), 2, ingest.tail())
        self.assertFalse(self.logged(ingest, "cannot be used", at), ingest.tail())
        self.load(1)
        self.assert_exact()

    def test_state_of_a_build_without_a_changelog(self):
        """The topic is not there, the local state is: it is written to the changelog, all of it."""
        ingest = self.site.start("ingest")
        self.load(2)
        self.wait_saved()
        ingest.terminate()
        delete_topic(self.kafka, self.state)
        at = len(ingest.log_text())
        ingest.start()
        eventually(lambda: self.assertEqual(len(self.logged(ingest, "the state is in the changelog again", at)), 2), 20 * SLOW)
        self.load(0.5)
        self.wait_saved()
        ingest.kill()
        self.lose_disk(ingest)
        self.forget_events()
        ingest.start()
        self.load(1)
        self.assert_exact()

    def test_a_first_start_over_a_backlog_that_dies(self):
        """However long it has to catch up, what was told before its last checkpoint is not read again."""
        for _ in range(20):
            produce(self.kafka, self.events, [event(f"u{self.sent + n}", now_ms(), "buy", n=self.sent + n) for n in range(200)])
            self.sent += 200
        self.keep()
        self.kafka.throttle(f"{self.site.settings['group.prefix']}-ingest", 60000)
        ingest = self.site.start("ingest", ready=False, settings={"kafka.fetch.message.max.bytes": 6000, "kafka.queued.min.messages": 1})
        counts = []

        def half_way():
            counts[:] = [ingest.metric(f"rollcall_ingest_{what}_total") for what in ("checkpoints", "events", "changes")]
            self.assertTrue(counts[0] >= 5 and counts[1] > 1000, counts)

        eventually(half_way, 60)
        told = counts[2]
        ingest.kill()
        self.assertEqual(self.logged(ingest, "partition caught up"), [], "it was no backlog")
        at = len(ingest.log_text())
        ingest.ready = True
        ingest.start()
        read = [int(line.rpartition("output_read=")[2]) for line in self.logged(ingest, "partition taken", at)]
        self.assertEqual(len(read), 2)
        self.assertLess(sum(read), told / 2)
        self.assert_exact()

    def test_progress_is_shown_and_a_stop_is_heard(self):
        ingest = self.site.start("ingest")
        self.load(6)
        self.wait_saved()
        ingest.terminate()
        self.lose_disk(ingest)
        self.kafka.throttle(f"{self.site.settings['group.prefix']}-restore", 60000)
        # Little in each fetch, and nothing that wakes librdkafka before it looks by itself whether there is room again.
        slow = {"kafka.fetch.message.max.bytes": 6000, "kafka.queued.min.messages": 1, "kafka.topic.metadata.refresh.interval.ms": 300000}
        for stops in (True, False):
            ingest.ready = False
            ingest.start(**slow)
            seen = []

            def restoring():
                status, body = ingest.get("/status")
                rows = json.loads(body)["roles"].get("ingest", {}).get("partitions", []) if status == 200 else []
                rows = [row for row in rows if row["state"] == "restoring" and row.get("restore_records")]
                for row in rows:
                    seen.append((row["partition"], row["restored_records"], row["restore_records"]))
                left = ingest.metric("rollcall_ingest_restore_left_records") if rows else 0
                return left > 0 and len({done for _, done, all in seen if 0 < done < all}) >= 2

            wait_until(restoring, 60, lambda: f"progress; seen {seen[-5:]}\n{ingest.tail()}")
            if stops:
                began = time.monotonic()
                ingest.terminate()
                self.assertLess(time.monotonic() - began, 10 * SLOW)
            else:
                self.assertRegex(self.site.run("status").out, r"restoring \d+%")
        ingest.wait_ready()
        eventually(lambda: self.assertEqual(ingest.metric("rollcall_ingest_restore_left_records"), 0))
        self.load(1)
        self.assert_exact()


if __name__ == "__main__":
    unittest.main()
