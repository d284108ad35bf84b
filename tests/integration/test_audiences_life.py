"""The life of audiences that is not continuous: published on a schedule or once, in the midst of a crash, past a limit, paused, expired,
deleted and back. What is published is held against the naive evaluator: every change is one of M's, statuses alternate, versions grow, and
when nothing is due any more the published state is M."""

import sys
import time
import unittest

from support import ROOT, Kafka, eventually, produce, read_all, wait_until
from support.recompute import Changes, Recomputation, assert_versions, now_ms, standing
from support.site import SLOW, Pipeline, audience, dataset, event, of_type, segment

sys.path.insert(0, str(ROOT / "tests" / "chaos"))
from clock import Clock  # noqa: E402

DAY_S = 86400


class LifeTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.kafka = Kafka().start()
        cls.addClassCleanup(cls.kafka.close)

    def setUp(self):
        self.prefix = "l-" + self.id().rpartition(".test_")[2].replace("_", "-")
        self.site = Pipeline(self.kafka, settings={"topics.prefix": self.prefix, "group.prefix": self.prefix, "checkpoint.interval": "200ms"})
        self.addCleanup(self.site.close)
        self.topic = f"{self.prefix}.web"
        self.web = dataset(topic=self.topic)
        self.definitions = {}

    def start(self, materialize=None, ahead_s=None):
        """Ingest, and materialize; with `ahead_s` (below 0: Kafka takes no records from the future) that and apply have a clock of their own."""
        self.ingest = self.site.start("ingest")
        if ahead_s is not None:
            self.clock = Clock(self.site.folder / "clock")
            self.clock.step(ahead_s)
            self.site.env = self.clock.env
        self.materialize = self.site.start("materialize", settings=materialize)

    def define(self, *definitions):
        for d in definitions:
            self.definitions[d["kind"], d["id"]] = d
        return self.site.define(*definitions)

    def send(self, *events):
        produce(self.kafka, self.topic, [event(user, now_ms(), type) for user, type in events])

    def changes(self, audience=None):
        return [c for c in Changes(self.kafka, f"{self.prefix}.memberships") if audience in (None, c.target)]

    def members(self, audience):
        """As published: the highest version of each person."""
        latest = {}
        for c in self.changes(audience):
            if c.version > latest.get(c.person[1], ("", -1))[1]:
                latest[c.person[1]] = (c.status, c.version)
        return {person for person, (status, _) in latest.items() if status == "realized"}

    def status(self, audience):
        rows = self.site.run("status", "--json", code=None).rows
        return next((r for r in rows if (r["type"], r.get("id")) == ("audience", audience)), None)

    def expect(self, audience, members, timeout=30):
        eventually(lambda: self.assertEqual(self.members(audience), set(members)), timeout * SLOW)

    def expect_status(self, audience, timeout=30, **wanted):
        def look():
            row = self.status(audience)
            self.assertEqual({k: row[k] for k in wanted}, wanted)
            return row

        return eventually(look, timeout * SLOW)

    def segments_told(self, n):
        """Until ingest has told so many persons of segment `viewed`."""
        told = lambda: {c.person for c in Changes(self.kafka, f"{self.prefix}.segments") if c.target == "viewed"}  # noqa: E731
        wait_until(lambda: len(told()) >= n, 60 * SLOW, lambda: f"{len(told())} of {n} persons in the segment")

    def assert_true_changes(self, *audiences):
        """Every published change of these is one of M's, statuses alternate, and the last is M's status now."""
        truth = Recomputation(list(self.definitions.values()), self.kafka)
        seen = [c for c in self.changes() if c.target in audiences]
        true = {w for w in truth.timeline(now_ms()) if w[0] in audiences}
        self.assertEqual({c.what for c in seen} - true, set())
        assert_versions(seen)
        last, now = {}, standing(true, now_ms())
        for c in sorted(seen, key=lambda c: c.version):
            self.assertNotEqual(last.get((c.target, c.person), ("exited",))[0], c.status, c)
            last[c.target, c.person] = (c.status, c.since)
        self.assertEqual({k for k, v in last.items() if v[0] == "realized"}, {k for k, v in now.items() if v[0] == "realized"})

    def test_schedules(self):
        viewed, bought = segment("viewed", of_type("view")), segment("bought", of_type("buy"))
        start_s = -5 * DAY_S
        at = time.strftime("%H:%M", time.gmtime(time.time() + start_s + 7200))
        where = {"and": [{"segment": "viewed"}, {"not": {"segment": "bought"}}]}
        self.define(self.web, viewed, bought)
        self.send(("a", "view"), ("b", "view"), ("c", "buy"))
        self.start(ahead_s=start_s)
        self.segments_told(2)
        self.define(audience("once", where, refresh="once"), audience("often", where, refresh="every 2s"),
                    audience("daily", where, refresh="daily", at=at), audience("live", where))  # fmt: skip
        for published in ("once", "often", "live"):
            self.expect(published, "ab")
        self.assertEqual({c.cause for c in self.changes() if c.target in ("once", "often")}, {"schedule"})
        self.send(("b", "buy"), ("d", "view"))
        self.expect("live", "ad")
        self.expect("often", "ad")
        row = self.expect_status("daily", state="ready", members=0, lastRefresh=None)
        self.assertTrue(0 < row["nextRefresh"] - (now_ms() + start_s * 1000) <= 7_200_000, row)
        self.assertEqual(self.members("once"), set("ab"))

        # Its time of day: just the difference to nothing, then to what was published.
        self.clock.step(start_s + 7200 + 60)
        self.expect("daily", "ad", 60)
        self.send(("a", "buy"), ("e", "view"))
        self.expect("live", "de")
        self.assertEqual(self.members("daily"), set("ad"))

        # Three are missed while nobody is there: one publication at the start.
        pid = self.materialize.pid
        self.materialize.kill()
        Clock.forget(pid)
        self.clock.step(start_s + 3 * DAY_S + 7200 + 60)
        self.materialize.start()
        self.expect("daily", "de", 60)
        self.assertEqual(sorted((c.person[1], c.status) for c in self.changes("daily")),
                         [("a", "exited"), ("a", "realized"), ("d", "realized"), ("e", "realized")])  # fmt: skip
        self.assertEqual({c.cause for c in self.changes("daily")}, {"schedule"})
        # Renaming publishes nothing, and the one that was published once is not published again.
        others = lambda: sorted(c.what for c in self.changes() if c.target != "often")  # noqa: E731
        before = others()
        self.define(audience("once", where, refresh="once", name="Once"), audience("daily", where, refresh="daily", at=at, name="Daily"))
        self.expect_status("once", version=2, state="ready", members=2)
        self.expect_status("daily", version=2, state="ready", members=2)
        self.assertEqual(others(), before)
        self.assert_true_changes("often", "daily", "live")

    def test_killed_in_the_midst_of_a_publication(self):
        n = 4000
        self.define(self.web, segment("viewed", of_type("view")), audience("slow", {"segment": "viewed"}, refresh="once"))
        ts = now_ms()
        produce(self.kafka, self.topic, [event(f"p{i}", ts, "view") for i in range(n)])
        # Small batches, each waiting its time, make a publication that takes some seconds.
        self.start({"kafka.linger.ms": "50", "kafka.queue.buffering.max.messages": "50"})
        told = lambda: len(read_all(self.kafka, f"{self.prefix}.memberships"))  # noqa: E731
        for part in (1, 2):
            seen = wait_until(lambda: (k := told()) > n * part // 4 and k, 90 * SLOW, "a publication under way", interval=0.05)
            self.materialize.kill()
            self.assertLess(seen, n, "it was over already")
            self.materialize.start()
        self.expect("slow", [f"p{i}" for i in range(n)], 90)
        seen = self.changes()
        self.assertEqual(len({c.person for c in seen}), n)
        self.assertEqual({(c.since, c.cause, c.status) for c in seen}, {(ts, "schedule", "realized")})
        # Nobody is told again: what lay behind the last checkpoint was found in the output log.
        self.assertEqual(len(seen), n)
        self.expect_status("slow", state="ready", members=n)
        self.assert_true_changes("slow")


if __name__ == "__main__":
    unittest.main()
