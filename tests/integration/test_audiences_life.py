"""The life of audiences that is not continuous: published on a schedule or once, in the midst of a crash, past a limit, paused, expired,
deleted and back. What is published is held against the naive evaluator: every change is one of M's, statuses alternate, versions grow, and
when nothing is due any more the published state is M."""

# release only: libfaketime has to be loaded first, and so has the sanitizers' runtime

import shutil
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
        # Records of a clock that is days ahead are taken.
        cls.kafka = Kafka({"log.message.timestamp.after.max.ms": 200 * DAY_S * 1000}).start()
        cls.addClassCleanup(cls.kafka.close)

    def setUp(self):
        self.prefix = "l-" + self.id().rpartition(".test_")[2].replace("_", "-")
        self.site = Pipeline(self.kafka, settings={"topics.prefix": self.prefix, "group.prefix": self.prefix, "checkpoint.interval": "200ms"})
        self.addCleanup(self.site.close)
        self.topic = f"{self.prefix}.web"
        self.web = dataset(topic=self.topic)
        self.definitions = {}

    def start(self, materialize=None, clock=False):
        """Ingest, and materialize, if wanted with a clock of its own."""
        self.ingest = self.site.start("ingest")
        if clock:
            self.clock = Clock(self.site.folder / "clock")
            self.site.env = self.clock.env
        self.materialize = self.site.start("materialize", settings=materialize)
        self.site.env = None

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
        told = self.site.run("status", "--json", code=None)
        row = next((r for r in told.rows if (r["type"], r.get("id")) == ("audience", audience)), None)
        self.assertIsNotNone(row, told)
        return row

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
        at = time.strftime("%H:%M", time.gmtime(time.time() + 7200))
        where = {"and": [{"segment": "viewed"}, {"not": {"segment": "bought"}}]}
        self.define(self.web, viewed, bought)
        self.send(("a", "view"), ("b", "view"), ("c", "buy"))
        self.start(clock=True)
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
        self.assertTrue(0 < row["nextRefresh"] - now_ms() <= 7_200_000, row)
        self.assertEqual(self.members("once"), set("ab"))

        # Its time of day: just the difference to nothing, then to what was published.
        self.clock.step(7200 + 60)
        self.expect("daily", "ad", 60)
        self.send(("a", "buy"), ("e", "view"))
        self.expect("live", "de")
        self.assertEqual(self.members("daily"), set("ad"))

        # Three are missed while nobody is there: one publication at the start.
        pid = self.materialize.pid
        self.materialize.kill()
        Clock.forget(pid)
        self.clock.step(3 * DAY_S + 7200 + 60)
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

    def test_ends(self):
        """Expiry with its warning, renewal, pauses, deletion and its undoing."""
        end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 31 * DAY_S))
        where = {"and": [{"segment": "viewed"}, {"not": {"segment": "bought"}}]}
        self.define(self.web, segment("viewed", of_type("view")), segment("bought", of_type("buy")))
        self.start(clock=True)
        self.define(audience("kept", where, expires=end), audience("ended", where, expires=end, on_end="exit"), audience("gone", where),
                    audience("left", where, on_end="keep"), audience("daily", where, refresh="every 2s"))  # fmt: skip
        self.send(("a", "view"), ("b", "view"))
        every = ("kept", "ended", "gone", "left", "daily")
        for name in every:
            self.expect(name, "ab")
        self.assertFalse(self.expect_status("kept", state="ready")["expiresSoon"])

        # Paused: nothing goes out, nobody is exited unless that is wanted; afterwards just the difference.
        self.define(audience("gone", where, paused=True), audience("left", where, paused=True, on_end="exit"), audience("daily", where, refresh="every 2s", paused=True))
        self.expect_status("gone", state="paused", members=2)
        self.expect("left", "")
        self.expect_status("daily", state="paused", members=2)
        self.send(("a", "buy"), ("c", "view"))
        self.expect("kept", "bc")
        self.assertEqual((self.members("gone"), self.members("daily"), self.members("left")), (set("ab"), set("ab"), set()))
        self.define(audience("gone", where), audience("left", where, on_end="keep"), audience("daily", where, refresh="every 2s"))
        for name in every:
            self.expect(name, "bc")
        self.assertEqual({c.cause for c in self.changes("gone") if c.person[1] in "ac"} - {"event"}, {"definition"})

        # Deleted: exited, or kept if that was wanted. Back again: entries with versions that have grown.
        before = set(self.changes("gone"))
        self.site.run("delete", "audience", "gone")
        self.site.run("delete", "audience", "left")
        self.expect("gone", "")
        self.assertEqual({(c.status, c.cause) for c in set(self.changes("gone")) - before}, {("exited", "definition")})
        self.send(("d", "view"))
        self.expect("kept", "bcd")
        self.assertEqual(self.members("left"), set("bc"))
        self.site.run("undelete", "audience", "gone")
        self.site.run("undelete", "audience", "left")
        self.expect("gone", "bcd")
        self.expect("left", "bcd")
        again = [c for c in self.changes("left") if c.person[1] in "bc"]
        self.assertEqual(len({c.version for c in again if c.person[1] == "c"}), 1)  # who was kept is not told again

        self.expect("daily", "bcd")
        self.assert_true_changes("kept", "daily")  # now: the broker compacts what is days old by the clock to come

        # A month before its end it is warned of; then nothing goes out any more.
        self.clock.step(2 * DAY_S)
        eventually(lambda: self.assertTrue(self.status("kept")["expiresSoon"]), 30 * SLOW)
        self.assertEqual(self.materialize.metric("rollcall_materialize_expiring_audiences"), 2)
        self.assertIn("audience expires soon", self.materialize.log_text())
        self.clock.step(32 * DAY_S)
        self.expect("ended", "")
        self.expect_status("kept", state="expired", members=3)
        self.send(("b", "buy"), ("e", "view"))
        self.expect("gone", "cde")
        self.assertEqual(self.members("kept"), set("bcd"))
        self.site.run("renew", "kept", "--for", "90d")
        self.site.run("renew", "ended", "--for", "90d")
        self.expect("kept", "cde")
        self.expect("ended", "cde")
        self.assertFalse(self.expect_status("kept", state="ready", members=3)["expiresSoon"])

    def test_size_limit_over_two_processes(self):
        where = {"and": [{"segment": "viewed"}, {"not": {"segment": "bought"}}]}
        self.define(self.web, segment("viewed", of_type("view")), segment("bought", of_type("buy")), audience("few", where, size_limit=10))
        self.start()
        self.site.start("materialize", name="second")
        everybody = {f"p{i}" for i in range(40)}
        self.send(*((p, "view") for p in sorted(everybody)))
        self.expect_status("few", state="error: size limit", members=10, withheld=30, timeout=60)
        members = self.members("few")
        self.assertEqual(len(members), 10)
        self.assertIn("30 more would be members", self.site.run("status").out)
        # Who leaves makes room, in whichever process; the others come in, with the instant at which they became one.
        self.send(*((p, "buy") for p in sorted(members)))
        self.expect_status("few", state="error: size limit", members=10, withheld=20, timeout=60)
        eventually(lambda: self.assertEqual(len(self.members("few") & (everybody - members)), 10), 30 * SLOW)
        late = [c for c in self.changes("few") if c.person[1] not in members]
        self.assertEqual({c.cause for c in late}, {"definition"})
        truth = Recomputation(list(self.definitions.values()), self.kafka)
        self.assertEqual({c.what for c in self.changes("few")} - truth.timeline(now_ms()), set())
        # A definition with room lets in everybody.
        self.define(audience("few", where, size_limit=1000))
        self.expect("few", everybody - members)
        self.expect_status("few", state="ready", members=30, withheld=0)
        self.assert_true_changes("few")

    def test_a_segment_that_reads_its_history_is_waited_for(self):
        """Nobody is published on the strength of a segment that has not told its members yet."""
        where = {"and": [{"segment": "viewed"}, {"not": {"segment": "bought"}}]}
        self.define(self.web, segment("viewed", of_type("view")), audience("viewed"))
        people = [f"p{i}" for i in range(60)]
        self.send(*((p, "view") for p in people), *((p, "buy") for p in people[::2]))
        self.start()
        self.expect("viewed", people, 60)
        names = ("live", "once", "often")
        self.define(segment("bought", of_type("buy")), audience("live", where), audience("once", where, refresh="once"), audience("often", where, refresh="every 2s"))
        for name in names:
            self.expect(name, people[1::2], 90)
            self.expect_status(name, state="ready", members=30)
            self.assertEqual({c.person[1] for c in self.changes(name)}, set(people[1::2]))
        self.assert_true_changes("viewed", *names)
        # The same when materialize has lost its disk, and knows of the segments from the topic alone.
        before = sorted(c.what for c in self.changes())
        self.materialize.terminate()
        shutil.rmtree(self.site.folder / "materialize" / "state")
        self.materialize.start()
        self.send(("new", "view"))
        self.expect("live", [*people[1::2], "new"], 60)
        self.expect("often", [*people[1::2], "new"], 60)
        self.assertEqual(sorted(c.what for c in self.changes() if c.person[1] != "new"), before)

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
