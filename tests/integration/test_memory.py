"""More persons than `state.memory_bytes` holds: ingest says what it says with room for all, in time, over a kill -9, and its start does
not read them."""

# release only: sizes are the matter, and a sanitizer's are others

import json
import time
import unittest

from support import Installation, Kafka, read_all
from support.basics import wait_until
from support.program import rollcall
from support.recompute import Changes, assert_versions, now_ms, percentile
from support.site import dataset, seed_of_run, segment

PERSONS = 60_000
PACE_S = 20
WINDOW_S = 15
MEMORY = 16 << 20

DEFINITIONS = [
    dataset(grace="500ms"),
    segment("recent", {"event": {"field": "type", "eq": "view"}, "window": f"{WINDOW_S}s"}),
    segment("twice", {"event": {}, "count": {"ge": 2}, "window": "1h"}),
    segment("no-purchase", {"not": {"event": {"field": "type", "eq": "buy"}, "window": f"{WINDOW_S + 3}s"}}),
]


class MemoryTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.kafka = Kafka().start()
        cls.addClassCleanup(cls.kafka.close)
        cls.site = Installation(cls.kafka)
        cls.addClassCleanup(cls.site.close)
        cls.site.run("apply", "-f", cls.site.write("defined.json", DEFINITIONS))
        cls.settings = {"state.memory_bytes": str(MEMORY), "checkpoint.interval": "500ms"}
        cls.ingest = cls.site.start("ingest", settings=cls.settings)
        cls.chance = seed_of_run("test_memory")
        cls.most = cls.fewest = None
        cls._send("first", PACE_S)
        cls.killed = cls.ingest.metric("rollcall_ingest_persons")
        cls.ingest.kill()
        began = time.monotonic()
        cls.ingest.start()
        cls.restart_s = time.monotonic() - began
        cls.resident = cls.ingest.metric("rollcall_ingest_persons_in_memory")
        cls._send("second", PACE_S)
        cls.last = now_ms()
        # Everybody leaves by time alone; most of them are on disk.
        time.sleep(WINDOW_S + 5)
        wait_until(lambda: now_ms() > cls.last + (WINDOW_S + 5) * 1000, 30)

    @classmethod
    def _send(cls, name, seconds):
        start = now_ms()
        rows = [{"user": f"p{n % PERSONS}", "ts": start + n * seconds * 1000 // PERSONS, "type": "buy" if cls.chance.random() < 0.3 else "view"}
                for n in range(PERSONS)]  # fmt: skip
        times = [row["ts"] for row in rows]
        cls.chance.shuffle(rows)  # persons in any order
        for row, ts in zip(rows, times):
            row["ts"] = ts
        path = cls.site.folder / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        cls.site.run("produce", "--dataset", "web", "--sort", "--pace", f"{seconds}s", path, timeout=120)

    def test_memory_stays_in_its_budget(self):
        self.assertLessEqual(self.ingest.metric("rollcall_ingest_state_memory_bytes"), MEMORY)
        resident = self.ingest.metric("rollcall_ingest_persons_in_memory")
        print(f"\n{resident:.0f} of {PERSONS} persons in memory at the end", flush=True)
        self.assertEqual(self.ingest.metric("rollcall_ingest_persons"), PERSONS)
        self.assertLess(resident, PERSONS * 0.8)

    def test_a_start_reads_nobody(self):
        print(f"\nready {self.restart_s:.2f} s after kill -9 with {self.killed:.0f} persons, {self.resident:.0f} of them in memory", flush=True)
        self.assertGreater(self.killed, PERSONS * 0.9)
        self.assertLess(self.resident, PERSONS * 0.5)

    def test_every_change_is_the_one_of_a_recomputation(self):
        events = self.site.folder / "events.jsonl"
        events.write_bytes(b"".join(record.value + b"\n" for record in read_all(self.kafka, "web.events")))
        until = self.last + (WINDOW_S + 4) * 1000
        told = rollcall("eval", "-f", self.site.folder / "defined.json", "--events", events, "--timeline", "--until", until, timeout=300)
        truth = {(r["segment"], (r["namespace"], r["id"]), r["status"], r["since"]) for r in told.rows}
        seen = [c for c in Changes(self.kafka, "rollcall.segments") if not c.target.startswith("_exists.")]
        assert_versions(seen)
        said = {c.what for c in seen}
        self.assertEqual(len(said - truth), 0, sorted(said - truth)[:5])
        self.assertEqual(len(truth - said), 0, sorted(truth - said)[:5])
        late = [c.emitted - c.since - 500 for c in seen if c.cause == "time" and c.since > self.last - 5000]
        self.assertGreater(len(late), PERSONS * 0.3)
        print(f"\n{len(said)} changes as recomputed; exits by time alone after due: p50 {percentile(late, 0.5)} ms, "
              f"p99 {percentile(late, 0.99)} ms, most {max(late)} ms", flush=True)  # fmt: skip


if __name__ == "__main__":
    unittest.main()
