"""What the tests of segments that read their history share: a dataset of random persons over some days, two ingest processes, and what is true of
them by the recomputation of the whole topic."""

import unittest

from .basics import eventually, wait_until
from .broker import Kafka
from .program import Installation
from .recompute import Changes, Recomputation, now_ms
from .site import SLOW, event, seed_of_run
from .topics import produce

DAY = 86_400_000
PERSONS = 300


class History(unittest.TestCase):
    """A case with a topic of its own, and two ingest processes, "one" and "two"."""

    committed = False  # whether only records of committed transactions are looked at

    @classmethod
    def setUpClass(cls):
        cls.kafka = Kafka({"log.retention.ms": -1}).start()  # records are dated as their events are
        cls.addClassCleanup(cls.kafka.close)

    def setUp(self):
        self.prefix = "b-" + self.id().rpartition(".test_")[2].replace("_", "-")
        self.site = Installation(self.kafka, settings={"topics.prefix": self.prefix, "group.prefix": self.prefix})
        self.addCleanup(self.site.close)
        self.topic = f"{self.prefix}.web"
        self.definitions = {}
        self.random = seed_of_run(self.id())
        self.sent = 0  # events so far

    # --- doing

    def define(self, *definitions):
        self.site.run("apply", "-f", self.site.write("defined.json", list(definitions)), "--json")
        for d in definitions:
            self.definitions[d["kind"], d["id"]] = d

    def delete(self, id):
        self.site.run("delete", "segment", id)
        del self.definitions["segment", id]

    def send(self, n, days=None, steady=False):
        """n events of random persons over the last days, or since the last time, in the order of their time, dated as their records are.
        `steady`: none becomes a day old soon, so that time alone changes nothing."""
        now, events = now_ms(), []
        first = now - int(days * DAY) if days else self.newest + 1
        times = sorted(self.random.randint(first, now) for _ in range(n))
        self.newest = now
        if steady:
            times = sorted(ts - DAY // 4 if abs(now - ts - DAY) < DAY // 8 else ts for ts in times)
        for ts in times:
            self.sent += 1
            key, value = event(f"p{self.random.randrange(PERSONS)}", ts, self.random.choice(("view", "view", "view", "cart", "buy")),
                               page=f"/{self.random.randrange(20)}", amount=self.random.randrange(50), n=self.sent)  # fmt: skip
            events.append((key, value, ts))
        produce(self.kafka, self.topic, events)

    def start_two(self):
        self.ingests = [self.site.start("ingest", name=name, ready=False) for name in ("one", "two")]
        for ingest in self.ingests:
            ingest.wait_ready()
            ingest.ready = False

    # --- looking

    def rows(self, kind="segment"):
        return {r["id"]: r for r in self.site.run("status", "--json").rows if r["type"] == kind}

    def live(self, *ids):
        def look():
            rows = self.rows()
            return all(rows.get(id, {}).get("state") == "live" for id in ids) and rows

        return wait_until(look, 60 * SLOW, lambda: f"{ids} to be live:\n{self.site.run('status').out}", interval=0.3)

    def changes(self):
        return [c for c in Changes(self.kafka, f"{self.prefix}.segments", committed=self.committed) if not c.target.startswith("_exists")]

    def members(self):
        """Whom the log says is in, by segment."""
        latest = {}
        for c in self.changes():
            if c.version > latest.get((c.target, c.person), c).version or (c.target, c.person) not in latest:
                latest[c.target, c.person] = c
        return {key for key, c in latest.items() if c.status == "realized"}

    def expect_truth(self):
        """The log says of everybody what the recomputation of the whole topic does; what time alone changes meanwhile is waited for."""

        def same():
            at = now_ms()
            truth = Recomputation(list(self.definitions.values()), self.kafka).evaluator.members_at(at)
            wanted = {(r["segment"], (r["namespace"], r["id"])) for r in truth}
            seen = self.members()
            self.assertEqual((sorted(wanted - seen)[:5], sorted(seen - wanted)[:5]), ([], []))
            return wanted

        return eventually(same, 60 * SLOW, interval=0.5)

    def assert_turns(self, seen):
        own = {}
        for c in seen:
            own.setdefault((c.target, c.person), {})[c.version] = c
        for key, by_version in own.items():
            said = [by_version[v].status for v in sorted(by_version)]
            self.assertEqual(said, (["realized", "exited"] * len(said))[: len(said)], f"{key}: {sorted(by_version.items())}")

    def control(self, id, what, *values):
        self.site.run("backfill", what, id, *values)
