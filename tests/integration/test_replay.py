"""Replays: the state of a dataset's segments is built anew from its topic, beside live traffic, by two ingest processes that are killed on the way. The
state is wrong because the dataset was edited, which counts from then on only; afterwards it is what a recomputation of the whole topic says, and only the
differences were told. The engine's side of it is in tests/unit/segment/test_warming.c."""

import time
import unittest

from confluent_kafka import TopicPartition
from support import eventually, wait_until
from support.history import DAY, History
from support.recompute import Recomputation, assert_versions, now_ms
from support.site import SLOW, dataset, event, of_type, segment

SEGMENTS = (
    segment("viewers", of_type("view", count={"ge": 3}, window="7d")),
    segment("quiet", {"not": of_type("buy", window="3d")}),
    segment("carts", of_type("cart", count={"ge": 2}, window="30d")),
    segment("loyal", {"and": [{"segment": "carts"}, {"sum": "amount", "is": {"gt": 400}, "window": "20d"}]}),
    segment("visits", {"session": of_type("view", count={"ge": 2}), "count": {"ge": 1}, "window": "10d"}),
)
IDS = tuple(s["id"] for s in SEGMENTS)


class ReplayTest(History):
    def replay(self, *more, **how):
        return self.site.run("replay", "--dataset", "web", *more, "--json", **how)

    def replayed(self):
        """Everybody is at the last replay again."""
        time.sleep(1)  # what is asked for has reached the processes
        self.live(*IDS)

    def test_an_edited_dataset_counts_anew_through_kills(self):
        self.define(dataset(topic=self.topic, where={"field": "type", "eq": "view"}), *SEGMENTS)
        self.start_two()
        self.send(12_000, 40)
        self.live(*IDS)
        self.expect_truth()
        before, members = self.changes(), self.members()

        # What is no event of the dataset becomes one: nothing of it is known, and of some persons nothing at all.
        shown = self.site.run("apply", "-f", self.site.write("edited.json", [dataset(topic=self.topic)]))
        self.assertIn("rollcall replay --dataset web", shown.out)
        self.define(dataset(topic=self.topic))
        self.assertEqual({p for s, p in self.members() if s == "carts"}, set())

        self.site.run("backfill", "rate", "dataset/web", "300")
        self.assertEqual(self.replay().json["segments"], len(SEGMENTS))
        wait_until(lambda: any(r["state"] == "replaying" and r["progress"] for r in self.rows().values()), 30 * SLOW, "progress")
        self.site.run("backfill", "pause", "dataset/web")
        wait_until(lambda: all(r["state"] in ("paused", "live") for r in self.rows().values()), 20 * SLOW, "paused")
        for _ in range(3):
            self.send(100)
            victim = self.random.choice(self.ingests)
            victim.kill()
            self.send(100)
            victim.start()
        # What serves goes on; nobody was told of what is not complete.
        self.assertLessEqual({c.cause for c in self.changes() if c not in before}, {"event", "time"})
        self.site.run("backfill", "resume", "dataset/web")
        self.ingests[0].kill()
        self.ingests[0].start()
        self.site.run("backfill", "rate", "dataset/web", "0")
        self.replayed()
        truth = self.expect_truth()
        self.assertTrue({p for s, p in truth if s == "carts"} and {p for s, p in members if s == "quiet"} - {p for s, p in truth if s == "quiet"})
        seen = self.changes()
        assert_versions(seen, in_time=False)
        self.assert_turns(seen)  # nobody is told the same twice
        self.assertLessEqual({c.cause for c in seen if c not in before}, {"event", "time", "backfill"})
        # Each person and segment at most once because of it.
        told = [(c.target, c.person) for c in seen if c.cause == "backfill"]
        self.assertEqual(len(told), len(set(told)))
        self.assertIn("replayed", [r["action"] for r in self.site.run("history", "dataset", "web", "--json").rows])

    def test_a_sound_state_is_told_nothing_of_and_a_part_counts_as_such(self):
        self.define(dataset(topic=self.topic), *SEGMENTS)
        self.start_two()
        self.send(3_000, 6, steady=True)
        self.live(*IDS)
        self.expect_truth()
        told = len(self.changes())
        self.replay()
        self.replayed()
        self.expect_truth()
        self.assertEqual(len(self.changes()), told)

        # One that is given up changes nothing, neither does going on from where it was.
        self.site.run("backfill", "rate", "dataset/web", "200")
        self.replay()
        wait_until(lambda: any(r["state"] == "replaying" for r in self.rows().values()), 20 * SLOW, "it to begin")
        self.site.run("backfill", "cancel", "dataset/web")
        self.replayed()
        self.site.run("backfill", "rate", "dataset/web", "0")
        for ingest in self.ingests:
            ingest.kill()
            ingest.start()
        self.live(*IDS)
        self.expect_truth()
        self.assertEqual(len(self.changes()), told)

        # From a time on: what came before counts no more.
        time.sleep(0.1)
        cut = now_ms()
        self.send(400, steady=True)
        self.expect_truth()
        self.replay("--from", iso(cut))
        self.replayed()

        def same():
            truth = Recomputation(list(self.definitions.values()), self.kafka, skip=lambda r: r.timestamp < cut).evaluator.members_at(now_ms())
            wanted = {(r["segment"], (r["namespace"], r["id"])) for r in truth if r["segment"] in ("carts", "viewers", "loyal")}
            self.assertEqual(wanted, {m for m in self.members() if m[0] in ("carts", "viewers", "loyal")})

        eventually(same, 30 * SLOW, interval=0.5)
        self.assertGreater(self.rows()["carts"]["incompleteUntil"], now_ms() + 29 * DAY)
        self.replay()
        self.replayed()
        self.expect_truth()


    def test_what_the_topic_has_forgotten_is_not_thrown_away(self):
        self.define(dataset(topic=self.topic), segment("carts", of_type("cart", window="30d")))
        self.start_two()
        self.send(600, 6, steady=True)
        self.live("carts")
        members = {p for _, p in self.expect_truth()}
        told = self.changes()
        everything = [TopicPartition(self.topic, p, -1) for p in range(4)]
        for answer in self.kafka.admin.delete_records(everything).values():
            answer.result(30)
        for command in (("replay",), ("import", self.site.write("one.jsonl", event("p1", now_ms())[1].decode()))):
            refused = self.site.run(*command, "--dataset", "web", code=65)
            self.assertIn("--force", refused.err)
            self.assertIn("segment carts", refused.err)
        self.assertEqual((self.rows()["carts"]["state"], self.changes()), ("live", told))
        # Said twice, it is done.
        self.replay("--force")
        eventually(lambda: self.assertEqual(self.members(), set()), 30 * SLOW, interval=0.3)
        self.assertEqual({(c.person, c.status, c.cause) for c in self.changes() if c not in told}, {(p, "exited", "backfill") for p in members})

        self.assertIn("web", self.site.run("replay", "--dataset", "wbe", code=65).err)
        self.assertIn("--dataset", self.site.run("replay", code=64).err)
        self.assertIn("--from", self.site.run("replay", "--dataset", "web", "--from", "yesterday", code=64).err)
        self.assertIn("--dataset", self.site.run("import", code=64).err)
        clock = {**dataset("clock", topic=f"{self.prefix}.clock"), "timestamp": {"kafka": "timestamp"}}
        self.define(clock)
        self.assertIn("Kafka's own", self.site.run("import", "--dataset", "clock", self.site.folder / "one.jsonl", code=64).err)


def iso(ms):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ms / 1000)) + f".{ms % 1000:03}Z"


if __name__ == "__main__":
    unittest.main()
