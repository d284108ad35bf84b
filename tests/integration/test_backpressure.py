"""What follows is slow, full or away: partitions pause, memory stays bounded, nothing is lost, and everything goes on by itself.

A load of some hundred events a second runs from beginning to end, from a client that waits out whatever happens, and from `produce`.
ROLLCALL_ACCEPTANCE=full: stores are away for 40 s and the broker for 60 s, as they may be; else for seconds."""

# release only: memory is measured

import collections
import json
import threading
import time
import unittest
from pathlib import Path

from confluent_kafka import Producer
from support import Kafka, Redis, end_offsets, eventually, read_all, wait_until
from support.recompute import now_ms, snapshot
from support.site import FULL, ROLES, Pipeline, audience, dataset, event, segment

MIB = 1 << 20
STORE_AWAY_S, BROKER_AWAY_S = (40, 60) if FULL else (4, 5)
PERSONS = 4000
RATE = 600
BACKLOG = 400_000 if FULL else 80_000
MEMORY = 64 * MIB
# What a process takes beside its budget: libraries, threads and their stacks, RocksDB's own, records on their way to and from brokers
# (queue.buffering.max.kbytes, 64 MiB, in each direction).
BESIDE = 128 * MIB
AUDIENCES = {"ge-3": {"ge": 3}, "eq-8": {"eq": 8}, "ge-12": {"ge": 12}}


class Load(threading.Thread):
    """RATE events a second until stop(), each person's in order; what the broker does not take waits here. Every eighth person's lie on
    a topic that is re-keyed."""

    def __init__(self, kafka):
        super().__init__(daemon=True)
        self.producer = Producer({"bootstrap.servers": kafka.bootstrap, "partitioner": "murmur2_random", "enable.idempotence": True,
                                  "linger.ms": 5, "delivery.timeout.ms": 600_000, "queue.buffering.max.messages": 10_000_000, "log_level": 0})  # fmt: skip
        self.failed = []
        self.stopped = threading.Event()
        self.lock = threading.Lock()
        self.n = 0

    def send(self, count):
        with self.lock:
            for _ in range(count):
                person = self.n * 7919 % PERSONS
                key, value = event(str(person), now_ms(), "good")
                self.producer.produce("calls.raw" if person % 8 == 0 else "web.events", key=key, value=value, on_delivery=self._told)
                self.n += 1
            self.producer.poll(0)

    def _told(self, error, _):
        if error:
            self.failed.append(str(error))

    def run(self):
        began, sent = time.monotonic(), 0
        while not self.stopped.wait(0.01):
            due = int((time.monotonic() - began) * RATE)
            self.send(due - sent)
            sent = due

    def stop(self, timeout=120):
        self.stopped.set()
        self.join()
        left = self.producer.flush(timeout)
        assert not left and not self.failed, f"{left} events not acknowledged; {self.failed[:3]}"
        return self.n


def recompute(kafka):
    """{(audience, (namespace, id)): (status, since)} from the events as they lie on the topics."""
    times = collections.defaultdict(list)
    for record in [*read_all(kafka, "web.events", timeout=120), *read_all(kafka, "calls.raw", timeout=120)]:
        seen = json.loads(record.value)
        times["id", seen["user"]].append(seen["ts"])
    wanted = {}
    for person, own in times.items():
        own.sort()
        for name, bound in AUDIENCES.items():
            ((op, n),) = bound.items()
            if len(own) >= n:
                left = op == "eq" and len(own) > n
                wanted[name, person] = ("exited", own[n]) if left else ("realized", own[n - 1])
    return wanted


class BackPressureTest(unittest.TestCase):
    def setUp(self):
        self.kafka = Kafka().start()
        self.addCleanup(self.kafka.close)
        self.redis = Redis().start()
        self.addCleanup(self.redis.close)
        self.site = Pipeline(self.kafka, self.redis, settings={"state.memory_bytes": MEMORY})
        self.addCleanup(self.site.close)
        self.file = self.site.folder / "changes.jsonl"
        self.site.define(
            dataset(grace="1s"), dataset("calls", grace="1s", topic="calls.raw", keyed=False), {"kind": "destination", "id": "log", "type": "file", "url": f"file://{self.file}"},
            *[d for name, bound in AUDIENCES.items() for d in (
                segment(name, {"event": {"field": "type", "eq": "good"}, "count": bound}, ["web", "calls"]),
                audience(name, destinations=["profiles", "log"]))],
            {"kind": "destination", "id": "profiles", "type": "redis", "url": self.redis.url})  # fmt: skip
        self.site.start_all()
        self.pids = [p.pid for p in self.site.all]
        self.load = Load(self.kafka)

    def lines(self):
        return [json.loads(line) for line in self.file.read_text().splitlines(keepends=True) if line.endswith("\n")]

    def told(self):
        """Lines of the other destination, which counts them itself."""
        return self.site.sink.metric("rollcall_sink_written_total", destination="log")

    def finish(self, timeout=120, others=0):
        """The load ends; both destinations agree with the recomputation; nobody was started anew; nobody took too much memory."""
        events = self.load.stop() + others
        wanted = recompute(self.kafka)
        self.assertEqual(sum(sum(end_offsets(self.kafka, topic).values()) for topic in ("web.events", "calls.raw")), events)

        def same():
            found = {key: (v["status"], v["since"]) for key, v in snapshot(self.redis)[0].items()}
            differing = [(k, found.get(k), wanted.get(k)) for k in set(found) | set(wanted) if found.get(k) != wanted.get(k)]
            self.assertEqual((len(differing), differing[:3]), (0, []))

        eventually(same, timeout, interval=0.5)
        latest = {}

        def logged():
            latest.clear()
            for line in self.lines():
                key = line["audience"], (line["namespace"], line["personId"])
                if line["version"] >= latest.get(key, (0,))[0]:
                    latest[key] = (line["version"], line["status"], line["since"])
            self.assertEqual({k: (status, since) for k, (_, status, since) in latest.items()}, wanted)

        eventually(logged, 30, interval=0.5)
        self.assertEqual([p.pid for p in self.site.all], self.pids)
        self.assertTrue(all(p.is_ready() for p in self.site.all))
        self.memory()
        return events, len(wanted)

    def memory(self):
        for role, pid in zip(ROLES, self.pids):
            status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
            peak = int(status["VmHWM"].split()[0]) * 1024
            print(f"{role}: at most {peak / MIB:.0f} MiB resident, budget {MEMORY / MIB:.0f} MiB", flush=True)
            self.assertLess(peak, MEMORY + BESIDE, role)

    def test_a_store_that_is_away(self):
        """Redis stands still, then is gone and comes back empty: the file goes on as if nothing were."""
        self.load.start()
        sink = self.site.sink
        wait_until(lambda: self.told() > 500, 120, "the first changes")
        for fault, mend in ((self.redis.pause, self.redis.resume), (self.redis.kill, self.redis.start)):
            fault()
            before, began = self.told(), time.monotonic()
            at_rest = 0
            while time.monotonic() - began < STORE_AWAY_S:
                time.sleep(0.5)
                at_rest = max(at_rest, sink.metric("rollcall_sink_pending_changes", destination="profiles"))
            self.assertGreater(self.told() - before, RATE / 20 * STORE_AWAY_S)
            self.assertLessEqual(at_rest, 8192 + 512)
            self.assertLess(sink.metric("rollcall_sink_lag_records", destination="log"), 5 * RATE)
            mend()
            wait_until(lambda: sink.metric("rollcall_sink_lag_records", destination="profiles") < RATE, 60, "the store to have caught up")
        self.assertGreater(sink.metric("rollcall_sink_retries_total", destination="profiles"), 0)
        self.assertEqual(sink.metric("rollcall_sink_retries_total", destination="log"), 0)
        events, n = self.finish()
        print(f"{events} events, {n} memberships; Redis away for 2 x {STORE_AWAY_S} s")

    def test_a_broker_that_is_away(self):
        """With a backlog in every queue the broker stands still, then is stopped: everybody waits, and goes on."""
        others = 0
        for fault, mend in ((self.kafka.pause, self.kafka.resume), (self.kafka.stop, self.kafka.start)):
            # A backlog that nobody has looked at yet; then all queues fill at once, and the broker goes.
            taken = self.records()
            self.site.ingest.pause()
            self.load.send(BACKLOG // 2)
            assert self.load.producer.flush(120) == 0
            self.site.ingest.resume()
            if not self.load.is_alive():
                self.load.start()
            name = fault.__name__
            rows = (json.dumps({"user": f"{name}-{n % 500}", "ts": now_ms() + n // 500, "type": "good"}) for n in range(5000))
            path = self.site.write(f"{name}.jsonl", "\n".join(rows))
            ends = end_offsets(self.kafka, "web.events")
            sending = self.site.send("--dataset", "web", "--rate", "300", path, name=f"produce-{name}")
            # A command gives up when no broker is there to begin with; once it is at it, it waits.
            mine = f"id:{name}-".encode()
            wait_until(lambda: any(r.key.startswith(mine) for r in read_all(self.kafka, "web.events", ends)), 30, "produce to be at it")
            wait_until(lambda: self.records() > taken + 2000, 30, "ingest to be at it")
            began = time.monotonic()
            fault()
            gone = time.monotonic()
            while time.monotonic() - gone < BROKER_AWAY_S:
                time.sleep(0.5)
                self.assertTrue(all(p.running() for p in self.site.all))
                self.assertEqual([p.get("/healthz")[0] for p in self.site.all], [200] * 3)
            mend()
            away = time.monotonic() - began
            self.assertEqual(sending.done(180)["sent"], 5000)
            print(f"broker {name}: away for {away:.0f} s", flush=True)
            others += 5000
        events, n = self.finish(180, others)
        print(f"{events} events, {n} memberships; the broker away for 2 x {BROKER_AWAY_S} s")

    def records(self):
        return self.site.ingest.metric("rollcall_ingest_records_total")


if __name__ == "__main__":
    unittest.main()
