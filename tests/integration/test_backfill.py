"""Definitions that come, change and go under a running pipeline: the history of what is new is read beside live traffic, by two ingest
processes that are killed on the way; afterwards the segments are what a recomputation of the whole topic says, nobody was told anything twice or
wrongly. The engine's side of it, under any interleaving, is in tests/unit/segment/test_warming.c."""

import unittest

from support import eventually, read_all, wait_until
from support.history import History
from support.recompute import assert_versions
from support.site import SLOW, dataset, of_type, segment

HISTORY = 20_000


class BackfillTest(History):
    def test_history_of_new_and_edited_segments_through_kills(self):
        self.define(dataset(topic=self.topic), segment("viewers", of_type("view", count={"ge": 3}, window="7d")))
        self.start_two()
        self.send(HISTORY, 40)
        self.live("viewers")
        self.expect_truth()
        before = self.changes()

        # Beside live traffic, and with kills at random: a new one by count, one that takes in all who did nothing, one over sessions that refers to another,
        # and an edit; slowed down, so that the kills come in the midst of it.
        self.control("viewers", "rate", "1500")
        self.define(segment("buyers", of_type("buy", count={"ge": 2}, window="30d")),
                    segment("quiet", {"not": of_type("buy", window="3d")}),
                    segment("loyal", {"and": [{"segment": "buyers"}, {"sum": "amount", "is": {"gt": 400}, "window": "20d"}]}),
                    segment("viewers", of_type("view", count={"ge": 4}, window="1d")))  # fmt: skip
        wait_until(lambda: any(r["state"] == "warming" and (r["progress"] or 0) > 0 for r in self.rows().values()), 30 * SLOW, "progress")
        for _ in range(5):
            self.send(150)
            victim = self.random.choice(self.ingests)
            victim.kill()
            self.send(150)
            victim.start()
        # What serves went on meanwhile, by the former version; nobody was told of what is not complete.
        warming = [r["id"] for r in self.rows().values() if r["state"] == "warming"]
        told = self.changes()
        if "buyers" in warming:
            self.assertEqual([c for c in told if c.target in ("buyers", "loyal", "quiet")], [])
        self.control("viewers", "rate", "0")
        self.live("buyers", "quiet", "loyal", "viewers")
        truth = self.expect_truth()
        self.assertEqual({s for s, _ in truth}, {"buyers", "quiet", "loyal", "viewers"})

        seen = self.changes()
        assert_versions(seen, in_time=False)
        new = [c for c in seen if c.target in ("buyers", "quiet", "loyal")]
        self.assertLessEqual({c.cause for c in new}, {"backfill", "event", "time"})
        self.assertTrue(any(c.cause == "backfill" for c in new))
        self.assertFalse([c for c in new if c.cause == "backfill" and c.status == "exited"], "flips of the past")
        # Nobody twice: entries and exits take turns, over all that was ever said.
        self.assert_turns(seen)
        # Of the edited one: the difference, as such.
        by_edit = [c for c in seen if c.target == "viewers" and c.cause == "definition"]
        self.assertTrue(by_edit)
        self.assertFalse([c for c in before if c.cause == "definition"])

        # What came of each stands in the trail once, though processes died meanwhile.
        def effects():
            rows = [r for r in self.site.run("history", "segments", "--json").rows if r["action"] == "took effect"]
            self.assertEqual(sorted((r["id"], r["version"]) for r in rows), [("buyers", 1), ("loyal", 1), ("quiet", 1), ("viewers", 2)])
            for r in rows:
                said = [s for _, _, s in {(c.person, c.version, c.status) for c in seen if c.target == r["id"] and c.cause in ("backfill", "definition")}]
                told = r["effect"]["entered"], r["effect"]["left"]
                if "atLeast" not in r["effect"]:
                    self.assertEqual(told, (said.count("realized"), said.count("exited")), r)

        eventually(effects, 30 * SLOW)

    def test_edit_and_back_tells_the_difference_and_its_reverse(self):
        often, recent = (segment("s", of_type("view", count={"ge": n}, window=w)) for n, w in ((3, "7d"), (5, "1d")))
        self.define(dataset(topic=self.topic), often)
        self.start_two()
        self.send(6_000, 6, steady=True)
        self.live("s")
        first = {p for _, p in self.expect_truth()}
        told = self.changes()
        self.define(recent)
        self.live("s")
        second = {p for _, p in self.expect_truth()}
        self.assertTrue(first - second and first & second)
        new = sorted((c.person, c.status, c.cause) for c in self.changes() if c not in told)
        self.assertEqual(new, sorted([(p, "exited", "definition") for p in first - second] + [(p, "realized", "definition") for p in second - first]))
        # Back: more than twice as many as now. Each process knows its own partitions' numbers, and waits for the other's.
        told = self.changes()
        self.define(often)
        held = wait_until(lambda: (r := self.rows()["s"])["state"] == "held" and r, 60 * SLOW, lambda: self.site.run("status").out)
        self.assertEqual(held["held"], {"members": len(second), "wouldHave": len(first)})
        self.assertEqual([c for c in self.changes() if c not in told], [])
        victim = self.random.choice(self.ingests)
        victim.kill()
        victim.start()
        self.site.run("approve", "segment", "s")
        self.live("s")
        self.expect_truth()
        new = sorted((c.person, c.status, c.cause) for c in self.changes() if c not in told)
        self.assertEqual(new, sorted([(p, "realized", "definition") for p in first - second] + [(p, "exited", "definition") for p in second - first]))

        # What each edit led to stands in the trail, once.
        def effects():
            rows = [r for r in self.site.run("history", "segment", "s", "--json").rows if r["action"] == "took effect"]
            self.assertEqual([(r["version"], r["who"], r["effect"]) for r in rows],
                             [(2, "rollcall", {"entered": len(second - first), "left": len(first - second)}),
                              (3, "rollcall", {"entered": len(first - second), "left": len(second - first)})])  # fmt: skip

        eventually(effects, 30 * SLOW)
        trail = [r for r in read_all(self.kafka, f"{self.prefix}.audit") if b'"took effect"' in r.value]
        self.assertEqual([r.key for r in trail], [b"segment/s"] * 2)

        # Gone: everybody leaves. A dropped edit tells nobody anything.
        self.define(segment("other", of_type("buy", window="30d")))
        self.live("other")
        told = self.changes()
        self.control("other", "pause")
        self.define(segment("other", of_type("cart", window="30d")))
        wait_until(lambda: self.rows()["other"]["state"] == "paused", 20 * SLOW, "paused")
        self.define(segment("other", of_type("buy", window="30d")))
        self.live("other")
        self.delete("s")
        members = {p for s, p in self.members() if s == "s"}
        eventually(lambda: self.assertEqual({p for s, p in self.members() if s == "s"}, set()), 30 * SLOW)
        self.expect_truth()
        new = [c for c in self.changes() if c not in told]
        self.assertEqual({(c.target, c.status, c.cause) for c in new}, {("s", "exited", "definition")})
        self.assertGreaterEqual({c.person for c in new}, members)


if __name__ == "__main__":
    unittest.main()
