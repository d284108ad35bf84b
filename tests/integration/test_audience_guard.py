"""The guard before an edited audience: what would empty it, or more than double it, waits for an approval while the condition before goes on, through
restarts, losses of disks and other processes; everything else switches by itself."""

import shutil
import time
import unittest

from support import Kafka, eventually, latest_by_key, produce, read_all, wait_until
from support.recompute import Changes, now_ms
from support.site import SLOW, Pipeline, audience, dataset, event, of_type, segment

VIEWED, BOUGHT = {"segment": "viewed"}, {"segment": "bought"}


class GuardTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.kafka = Kafka().start()
        cls.addClassCleanup(cls.kafka.close)

    def setUp(self):
        self.prefix = "g-" + self.id().rpartition(".test_")[2].replace("_", "-")
        self.site = Pipeline(self.kafka, settings={"topics.prefix": self.prefix, "group.prefix": self.prefix, "checkpoint.interval": "200ms"})
        self.addCleanup(self.site.close)
        self.site.define(dataset(topic=f"{self.prefix}.web"), segment("viewed", of_type("view")), segment("bought", of_type("buy")))

    def send(self, people, type):
        produce(self.kafka, f"{self.prefix}.web", [event(user, now_ms(), type) for user in people])

    def changes(self, audience):
        return [c for c in Changes(self.kafka, f"{self.prefix}.memberships") if c.target == audience]

    def members(self, audience):
        latest = {c.person[1]: c.status for c in sorted(self.changes(audience), key=lambda c: c.version)}
        return {person for person, status in latest.items() if status == "realized"}

    def expect(self, audience, people, timeout=40):
        eventually(lambda: self.assertEqual(self.members(audience), set(people)), timeout * SLOW)

    def row(self, audience):
        rows = self.site.run("status", "--json", code=None).rows
        return next((r for r in rows if (r["type"], r.get("id")) == ("audience", audience)), {})

    def state(self, audience, state, version):
        def look():
            row = self.row(audience)
            self.assertEqual((row.get("state"), row.get("version")), (state, version), row)
            return row

        return eventually(look, 60 * SLOW)

    def word(self, audience):
        return latest_by_key(read_all(self.kafka, f"{self.prefix}.definitions")).get(f"control/serves/{audience}".encode())

    def effects(self, kind, id):
        """{version: effect} of what took effect, by the trail, which holds each once."""
        rows = [r for r in self.site.run("history", kind, id, "--json").rows if r["action"] == "took effect"]
        written = [r for r in read_all(self.kafka, f"{self.prefix}.audit") if r.key == f"{kind}/{id}".encode() and b'"took effect"' in r.value]
        self.assertEqual(len(rows), len(written))
        self.assertEqual({r["who"] for r in rows}, {"rollcall"})
        return {r["version"]: r["effect"] for r in rows}

    def start(self):
        self.ingest = self.site.start("ingest")
        self.both = [self.site.start("materialize", name=name, ready=False) for name in ("one", "two")]
        for process in self.both:
            process.wait_ready()
            process.ready = True

    def test_held_through_restarts_until_it_is_approved(self):
        people = [f"p{i}" for i in range(12)]
        self.site.define(audience("a", VIEWED), audience("small", VIEWED))
        self.send(people, "view")
        self.send(people[:7], "buy")
        self.start()
        self.expect("a", people)

        # Some leave, few come: that is what edits do. It switches by itself.
        self.site.define(audience("a", {"and": [VIEWED, BOUGHT]}))
        self.expect("a", people[:7])
        self.state("a", "ready", 2)

        # Nobody would be left: it is held, and says why and what can be done; the version before goes on.
        self.site.define(audience("a", {"and": [VIEWED, {"not": VIEWED}]}))
        row = self.state("a", "held", 3)
        self.assertEqual((row["held"], row["members"], row["servingVersion"]), ({"members": 7, "wouldHave": 0}, 7, 2))
        for told in (self.site.run("status").out, self.site.run("describe", "audience", "a").out):
            self.assertIn("version 3 would have 0 members instead of 7: `rollcall approve audience a`, or roll back", told)
        self.assertEqual([r["id"] for r in self.site.run("get", "audiences", "--state", "held", "--json").rows], ["a"])
        self.send(["new"], "view")
        self.send(["new"], "buy")
        self.expect("a", [*people[:7], "new"])

        # A process is killed and loses its disk, then the other one; another one takes over meanwhile.
        for process in self.both:
            process.kill()
            shutil.rmtree(process.settings["state.dir"])
            process.start()
        self.send([people[0], "late"], "buy")
        self.send(["late"], "view")
        self.expect("a", [*people[:7], "new", "late"])
        self.state("a", "held", 3)
        self.assertEqual([c for c in self.changes("a") if c.status == "exited" and c.person[1] in people[:7]], [])

        told = self.changes("a")
        self.site.run("approve", "audience", "a")
        self.expect("a", [])
        self.state("a", "ready", 3)
        news = [(c.status, c.cause) for c in self.changes("a") if c not in told]
        self.assertEqual(news, 9 * [("exited", "definition")])
        # Nobody is in: whatever it is edited to, nobody is lost.
        self.site.define(audience("a", VIEWED))
        self.expect("a", [*people, "new", "late"])
        self.assertEqual(self.members("small"), {*people, "new", "late"})
        # Who entered and left stands in the trail, once for each version, with what it was.
        self.assertEqual(self.effects("audience", "a"), {2: {"entered": 0, "left": 5, "members": 7}, 3: {"entered": 0, "left": 9, "members": 0},
                                                         4: {"entered": 14, "left": 0, "members": 14}})  # fmt: skip
        self.assertRegex(self.site.run("history", "audience", "a").out, r"rollcall +audience/a +took effect +3 +entered 0, left 9, members 0")
        self.assertEqual(self.site.run("history", "audience", "a", "--json").rows[-1]["definition"]["where"], VIEWED)

        # Deleted and made anew: nothing of what was before is in the way.
        self.site.run("delete", "audience", "a")
        self.expect("a", [])
        eventually(lambda: self.assertIn(self.word("a"), (None, b"")), 20 * SLOW)
        self.site.define(audience("a", {"not": VIEWED}))
        self.state("a", "ready", 5)
        self.site.define(audience("a", BOUGHT))
        self.expect("a", [*people[:7], "new", "late"])

    def test_ways_out(self):
        people = [f"p{i}" for i in range(10)]
        either = {"or": [VIEWED, BOUGHT]}
        self.site.define(audience("rolled", BOUGHT), audience("forced", BOUGHT), audience("edited", BOUGHT), audience("once", BOUGHT, refresh="once"))
        self.send(people, "view")
        self.send(people[:3], "buy")
        self.start()
        for name in ("rolled", "forced", "edited", "once"):
            self.expect(name, people[:3])
        self.site.define(audience("rolled", either, name="Rolled"), audience("edited", either), audience("once", either, refresh="once"))
        self.site.run("apply", "--force", "-f", self.site.write("forced.json", audience("forced", either)))
        self.expect("forced", people)
        for name in ("rolled", "edited", "once"):
            self.assertEqual(self.state(name, "held", 2)["held"], {"members": 3, "wouldHave": 10})
        # Back, to something that moves fewer, and by approval: what is published once is published by what was applied.
        told = {name: len(self.changes(name)) for name in ("rolled", "once")}
        self.assertEqual(told["once"], 3)
        self.site.run("rollback", "audience", "rolled")
        self.state("rolled", "ready", 3)
        self.assertEqual(len(self.changes("rolled")), told["rolled"])
        self.site.define(audience("edited", {"and": [VIEWED, BOUGHT]}))
        self.state("edited", "ready", 3)
        self.expect("edited", people[:3])
        self.site.run("approve", "audience", "once")
        self.expect("once", people)
        self.assertEqual({c.cause for c in self.changes("once")}, {"schedule"})

    def test_a_new_segment_is_waited_for_by_what_goes_on(self):
        """An edit names a segment that reads its history: the condition before serves until that is live, then the difference is told."""
        people = [f"p{i}" for i in range(10)]
        self.site.define(audience("a", VIEWED))
        self.send(people, "view")
        self.send(people[:4], "cart")
        self.start()
        self.expect("a", people)
        self.ingest.terminate()
        self.site.define(segment("carts", of_type("cart")))
        self.site.run("backfill", "pause", "carts")
        self.ingest.start()
        self.site.define(audience("a", {"and": [VIEWED, {"segment": "carts"}]}))
        self.state("a", "in progress", 2)
        self.send(["new"], "view")
        self.expect("a", [*people, "new"])
        self.site.run("backfill", "resume", "carts")
        self.expect("a", people[:4], 60)
        self.state("a", "ready", 2)
        left = {c.person[1] for c in self.changes("a") if c.status == "exited"}
        self.assertEqual(left, {*people[4:], "new"})

    def test_a_partition_goes_to_a_process_that_has_not_heard_of_a_deletion(self):
        people = {f"p{n}" for n in range(40)}
        self.site.settings["kafka.session.timeout.ms"] = 6000
        self.site.define(audience("seen", VIEWED))
        self.site.start("ingest")
        ahead, behind = (self.site.start("materialize", name=name, ready=False) for name in ("ahead", "behind"))
        for process in (ahead, behind):
            process.wait_ready()
            process.ready = False
        self.send(people, "view")
        self.expect("seen", people)
        # One hears nothing more of definitions; the other reads them as it starts again, exits everybody in its partitions, and dies.
        self.kafka.throttle(f"{self.prefix}-materialize-definitions", 1)
        self.site.run("delete", "audience", "seen")
        ahead.kill()
        ahead.start()
        wait_until(lambda: len(self.changes("seen")) > len(people), 40 * SLOW, lambda: f"exits\n{ahead.tail()}")
        time.sleep(2 * SLOW)
        told = self.changes("seen")
        self.assertLess(len(told), 2 * len(people))
        ahead.kill()
        wait_until(lambda: "its former owner had read more of the definitions" in behind.log_text() or len(self.changes("seen")) > len(told), 40 * SLOW,
                   lambda: f"the partitions to be taken\n{behind.tail()}")  # fmt: skip
        self.assertEqual(len(self.changes("seen")), len(told), "told to be in an audience that is gone")
        behind.kill()
        for process in (ahead, behind):
            process.start()
        self.expect("seen", set())
        versions = {(c.person, c.version): c.status for c in self.changes("seen")}
        self.assertEqual(sorted(versions.values()).count("realized"), len(people))


if __name__ == "__main__":
    unittest.main()
