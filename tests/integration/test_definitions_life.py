"""The life of definitions: the audit trail, rollback, undelete, renew, approve, versions that never begin again, changes that are made whole
or not at all, by several at once; and what a consumer that was down makes of a deletion."""

import json
import shutil
import subprocess
import threading
import unittest
from datetime import datetime, timedelta, timezone

from confluent_kafka import KafkaException
from confluent_kafka.admin import ConfigResource

from support import Kafka, decode, eventually, latest_by_key, produce, read_all, topic_partitions
from support.basics import Child
from support.program import BINARY, _settings, environment
from support.recompute import now_ms
from support.site import SLOW, Pipeline, audience, dataset, event, of_type, seed_of_run, segment


def viewed(window, **more):
    return segment("viewed", of_type("view", window=window, count={"ge": 9.5}), **more)


class LifeTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.kafka = Kafka().start()
        cls.addClassCleanup(cls.kafka.close)

    def setUp(self):
        self.prefix = self.id().rpartition(".test_")[2].replace("_", "-")
        self.site = Pipeline(self.kafka, settings={"topics.prefix": self.prefix, "group.prefix": self.prefix})
        self.addCleanup(self.site.close)
        self.web = dataset(topic=f"{self.prefix}.web")

    def history(self, *args):
        """[(kind/id, action, version)], and the rows themselves."""
        rows = self.site.run("history", *args, "--json").rows
        return [(f"{r['kind']}/{r['id']}", r["action"], r["version"]) for r in rows], rows

    def control(self, key):
        return json.loads(latest_by_key(read_all(self.kafka, f"{self.prefix}.definitions")).get(b"control/" + key.encode(), b"{}"))

    def version(self, kind, id):
        return self.site.run("get", kind, id, "--json").json["version"]

    def test_trail_and_rollback(self):
        run = self.site.run
        self.assertIn("holds nothing", (self.site.define(self.web) and run("history", "segments")).out)
        texts = {n: viewed(f"{n}d", description=f"9.99 {n}") for n in (1, 2, 3)}
        self.site.define(texts[1])
        run("apply", "-f", self.site.write("two.json", texts[2]), "--who", "anna")
        entry, rows = self.history("segment", "viewed")
        self.assertEqual(entry, [("segment/viewed", "created", 1), ("segment/viewed", "configured", 2)])
        self.assertEqual((rows[1]["who"], rows[1]["definition"]), ("anna", texts[2]))
        self.assertLess(datetime.fromisoformat(rows[0]["time"]), datetime.fromisoformat(rows[1]["time"]))
        # The trail is byte for byte: numbers as they were written.
        self.assertIn('"ge":9.5', run("history", "segment", "viewed", "--show", 1, "--json").out.replace(" ", ""))
        self.assertEqual(json.loads(run("history", "segment", "viewed", "--show", 1).out), texts[1])
        difference = run("history", "segment", "viewed", "--diff", 1, 2).out
        self.assertEqual([line for line in difference.splitlines()[2:] if line[0] in "+-"],
                         ['-   "description": "9.99 1"', '+   "description": "9.99 2"', '-     "window": "1d",', '+     "window": "2d",']
                         if difference.index("description") < difference.index("window") else
                         ['-     "window": "1d",', '+     "window": "2d",', '-   "description": "9.99 1"', '+   "description": "9.99 2"'])  # fmt: skip
        # Back, back again, and to one that is named; an unchanged one writes nothing.
        result = run("rollback", "segment", "viewed", "--who", "bo", "--json").json
        self.assertEqual((result["result"], result["version"]), ("rolled back", 3))
        self.assertEqual(run("get", "segment", "viewed", "--json").json["definition"], texts[1])
        self.assertEqual(self.control("segment/viewed")["cancelled"], 2)
        self.assertIn("version 4, as version 2", run("rollback", "segments", "viewed").out)
        self.assertIn("unchanged", run("rollback", "segment", "viewed", "--to", 2).out)
        self.site.define(texts[3])
        run("rollback", "segment", "viewed", "--to", 1)
        entry, rows = self.history("segment", "viewed")
        self.assertEqual([e[1:] for e in entry], [("created", 1), ("configured", 2), ("rolled back", 3), ("rolled back", 4), ("configured", 5), ("rolled back", 6)])
        self.assertEqual([r["definition"] for r in rows], [texts[n] for n in (1, 2, 1, 2, 3, 1)])
        self.assertEqual((rows[2]["who"], rows[2]["effect"]), ("bo", {"toVersion": 1}))
        table = run("history").out.splitlines()
        self.assertRegex(table[0], r"^TIME +WHO +DEFINITION +ACTION +VERSION +EFFECT$")
        self.assertRegex(table[4], r"Z +bo +segment/viewed +rolled back +3 +toVersion 1$")
        # What cannot be.
        self.assertIn("version 1", run("rollback", "dataset", "web", code=65).err)
        self.assertIn("1 to 6", run("rollback", "segment", "viewed", "--to", 7, code=64).err)
        self.assertIn("did you mean viewed?", run("rollback", "segment", "viewd", code=65).err)
        self.assertIn("no version 9", run("history", "segment", "viewed", "--show", 9, code=65).err)
        self.assertIn("KIND ID", run("history", "--show", 1, code=64).err)
        self.assertIn("two versions", run("history", "segment", "viewed", "--diff", 1, code=64).err)
        # What the topic is.
        self.assertEqual(topic_partitions(self.kafka)[f"{self.prefix}.audit"], 1)
        (entry,) = self.kafka.admin.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, f"{self.prefix}.audit")]).values()
        config = entry.result(10)
        self.assertEqual([config[k].value for k in ("cleanup.policy", "retention.ms", "retention.bytes")], ["delete", "-1", "-1"])
        self.assertEqual([r.key for r in read_all(self.kafka, f"{self.prefix}.audit")], [b"dataset/web"] + 6 * [b"segment/viewed"])

    def test_delete_undelete_renew_approve(self):
        run = self.site.run
        self.site.define(self.web, viewed("1d"), audience("viewed", on_end="keep"), audience("other", {"segment": "viewed"}))
        run("apply", "-f", self.site.write("two.json", audience("viewed", on_end="keep", name="Two")))
        past = self.site.define(self.web, audience("viewed", expires="2020-01-01T00:00:00Z"), code=65).err
        self.assertIn("$[1].expires: found 2020-01-01T00:00:00.000Z, which is past", past)
        self.assertIn("audience/viewed", run("delete", "segment", "viewed", code=65).err)
        gone = run("delete", "audience", "viewed", "--who", "anna", "--json").json
        self.assertEqual((gone["version"], gone["onEnd"]), (2, "keep"))
        self.assertEqual({k: v for k, v in self.control("audience/viewed").items() if k != "time"}, {"deleted": 2, "onEnd": "keep", "who": "anna"})
        text = run("delete", "audience", "other").out
        self.assertIn("its members are exited", text)
        self.assertIn("rollcall undelete audience other", text)
        # A new one of that id continues; one that comes back does as well.
        self.assertEqual(run("undelete", "audience", "viewed", "--json").json["version"], 3)
        self.assertIn("is not deleted", run("undelete", "audience", "viewed", code=65).err)
        self.assertIn("knows no audience", run("undelete", "audience", "never", code=65).err)
        self.assertEqual([r["version"] for r in self.site.define(audience("other", {"not": {"segment": "viewed"}})).rows], [2])
        # What it needs must be there.
        for kind, id in [("audience", "other"), ("audience", "viewed"), ("segment", "viewed")]:
            run("delete", kind, id)
        self.assertIn("viewed", run("undelete", "audience", "viewed", code=65).err)
        run("undelete", "segment", "viewed")
        run("undelete", "audience", "viewed")
        self.assertEqual((self.version("segment", "viewed"), self.version("audience", "viewed")), (2, 4))
        # Renewed: only `expires` differs.
        now = datetime.now(timezone.utc)
        self.assertEqual(run("renew", "viewed", "--json").json["version"], 5)
        definition = run("get", "audience", "viewed", "--json").json["definition"]
        months = (lambda t: t.year * 12 + t.month)(datetime.fromisoformat(definition["expires"])) - now.year * 12 - now.month
        self.assertIn(months, (13, 14))  # the month may have ended in between
        self.assertEqual({**audience("viewed", on_end="keep", name="Two"), "expires": definition["expires"]}, definition)
        run("renew", "viewed", "--until", "2030-02-28T01:00:00+01:00")
        self.assertEqual(run("get", "audience", "viewed", "--json").json["definition"]["expires"], "2030-02-28T00:00:00.000Z")
        for option, value in [("--until", "2020-01-01T00:00:00Z"), ("--until", "soon"), ("--for", "13 months"), ("--for", "0mo")]:
            self.assertIn(value, run("renew", "viewed", option, value, code=64).err)
        self.assertIn("did you mean viewed?", run("renew", "viewd", code=65).err)
        # Approved: this version, and with --force in the same step.
        self.assertEqual(run("approve", "audience", "viewed", "--json").json["version"], 6)
        self.assertEqual(self.control("audience/viewed")["approved"], 6)
        self.assertIn("already", run("approve", "audience", "viewed").out)
        self.assertIn("no approval", run("approve", "dataset", "web", code=64).err)
        run("apply", "-f", self.site.write("forced.json", [viewed("2d"), self.web]), "--force")
        self.assertEqual((self.control("segment/viewed")["approved"], self.version("segment", "viewed")), (3, 3))
        self.assertEqual(self.control("segment/viewed")["deleted"], 1)  # what was said before goes on
        self.assertEqual([e[1:] for e in self.history("audience", "viewed")[0]],
                         [("created", 1), ("configured", 2), ("deleted", 2), ("undeleted", 3), ("deleted", 3), ("undeleted", 4), ("renewed", 5),
                          ("renewed", 6), ("approved", 6)])  # fmt: skip
        self.assertEqual([e[1:] for e in self.history("segment", "viewed")[0]],
                         [("created", 1), ("deleted", 1), ("undeleted", 2), ("configured", 3), ("approved", 3)])  # fmt: skip

    def test_several_at_once(self):
        """Nobody writes over anybody: every version is written once, and what is in force is the last of the trail."""
        self.site.define(self.web)
        results = []

        def work(n):
            for i in range(3):
                one = self.site.write(f"{n}-{i}.json", [viewed(f"{1 + n * 3 + i}d"), segment("beside", of_type(f"t{n}-{i}"))])
                results.append(self.site.run("apply", "-f", one, "--json", code=(0, 75), timeout=180).rows)

        workers = [threading.Thread(target=work, args=(n,)) for n in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        done = [rows for rows in results if rows]
        self.assertEqual(len(results), 9)
        for id in ("viewed", "beside"):
            versions = sorted(row["version"] for rows in done for row in rows if row["id"] == id)
            self.assertEqual(versions, list(range(1, len(done) + 1)))
            _, rows = self.history("segment", id)
            self.assertEqual([r["version"] for r in rows], versions)
            now = self.site.run("get", "segment", id, "--json").json
            self.assertEqual((now["version"], now["definition"]), (rows[-1]["version"], rows[-1]["definition"]))
        # Both of one apply have the same version, because neither was ever taken without the other.
        for rows in done:
            self.assertEqual(len({row["version"] for row in rows}), 1)

    def test_killed_at_any_moment(self):
        """What one apply changes is there whole, with its entries in the trail, or not at all; and the next one need not wait for it."""
        self.site.define(self.web)
        chance = seed_of_run("test_killed_at_any_moment")
        for i in range(1, 9):
            path = self.site.write(f"{i}.json", [viewed(f"{i}d"), segment("beside", of_type(f"t{i}"))])
            child = Child([BINARY, "apply", "-f", path, *_settings(self.site.settings)], self.site.folder / "killed.log", env=environment())
            try:
                child.wait(chance.uniform(0.02, 0.6) * SLOW)
            except subprocess.TimeoutExpired:
                child.kill()
        self.site.define(viewed("30d"), segment("beside", of_type("last")))
        trails = [self.history("segment", id)[1] for id in ("viewed", "beside")]
        self.assertEqual([r["version"] for r in trails[0]], list(range(1, len(trails[0]) + 1)))
        self.assertEqual([r["version"] for r in trails[0]], [r["version"] for r in trails[1]])
        for id, trail in zip(("viewed", "beside"), trails, strict=True):
            self.assertEqual(self.version("segment", id), trail[-1]["version"])
        for one, other in zip(*trails, strict=True):  # those of one apply
            self.assertEqual(one["time"], other["time"])

    # --- with consumers

    def memberships(self):
        """{(audience, person): status}, the latest of each."""
        changes = [decode("membership", value) for value in latest_by_key(read_all(self.kafka, f"{self.prefix}.memberships")).values() if value]
        return {(c["audience"], c["personId"]): c["status"] for c in changes}

    def settled(self, wanted):
        eventually(lambda: self.assertEqual(self.memberships(), wanted), 90, 0.5, (AssertionError, KafkaException))

    def found(self, segment, state, members=None):
        """Waits until a segment is in a state, and has so many members."""

        def look():
            row = next(row for row in self.site.run("get", "segments", "--json").rows if row["id"] == segment)
            self.assertEqual(row["state"], state)
            self.assertTrue(members is None or row["members"] == members, row)

        eventually(look, 60, 0.2)

    def listed(self, *args):
        return [row["id"] for row in self.site.run("get", *args, "--json").rows]

    def test_lists_and_deletion_under_consumers(self):
        run, soon = self.site.run, (datetime.now(timezone.utc) + timedelta(days=10)).isoformat()
        definitions = [self.web, segment("viewed", of_type("view", window="1h"), owner="anna"), segment("bought", of_type("buy")),
                       audience("leave", {"segment": "viewed"}, name="Those who go", owner="anna", tags=["crm", "a"]),
                       audience("stay", {"segment": "viewed"}, on_end="keep", owner="bo", tags="crm", expires=soon),
                       audience("away", {"segment": "bought"}, destinations=["files"], paused=True),
                       {"kind": "destination", "id": "files", "type": "file", "url": f"file:{self.site.folder}/out.jsonl"}]  # fmt: skip
        self.site.define(*definitions)
        # Nothing runs: what is applied is listed, what only a process knows is not.
        rows = {row["id"]: row for row in run("get", "audiences", "--json").rows}
        self.assertEqual([(rows["leave"][k]) for k in ("state", "members", "lastRefreshed")], [None, None, None])
        self.assertIn("no materialize is running", run("get", "audiences").out)
        ingest, materialize = self.site.start("ingest"), self.site.start("materialize")
        produce(self.kafka, f"{self.prefix}.web", [event(user, now_ms()) for user in ("a", "b")])

        def counted():
            rows = {row["id"]: (row["state"], row["members"]) for row in run("get", "audiences", "--json").rows}
            self.assertEqual(rows, {"leave": ("ready", 2), "stay": ("ready", 2), "away": ("paused", 0)})

        eventually(counted, 60)
        # When each was refreshed last outlives the process.
        refreshed = lambda: {row["id"]: row["lastRefreshed"] for row in run("get", "audiences", "--json").rows}  # noqa: E731
        before = refreshed()
        self.assertIsNotNone(before["leave"])
        materialize.kill()
        materialize.start()
        eventually(counted, 60)
        self.assertEqual(refreshed(), before)
        for args, wanted in [
            (["audiences"], ["away", "leave", "stay"]),
            (["audiences", "--state", "ready"], ["leave", "stay"]),
            (["audiences", "--state", "paused"], ["away"]),
            (["audiences", "--state", "error"], []),
            (["audiences", "--owner", "anna"], ["leave"]),
            (["--owner", "anna"], ["viewed", "leave"]),
            (["audiences", "--tag", "crm"], ["leave", "stay"]),
            (["audiences", "--tag", "crm", "--tag", "a"], ["leave"]),
            (["audiences", "--name-contains", "WHO GO"], ["leave"]),
            (["audiences", "--refresh", "continuous", "--sort", "members"], ["away", "leave", "stay"]),
            (["audiences", "--refresh", "daily"], []),
            (["audiences", "--expires-before", "30d"], ["stay"]),
            (["audiences", "--modified-since", "1h"], ["away", "leave", "stay"]),
            (["audiences", "--modified-since", "2100-01-01T00:00:00Z"], []),
            (["audiences", "--refreshed-since", "1h"], ["leave", "stay"]),
            (["audiences", "--segment", "viewed", "--sort", "owner", "--reverse"], ["stay", "leave"]),
            (["audiences", "--destination", "files"], ["away"]),
            (["audiences", "--destination", "profiles", "--sort", "id", "--reverse"], ["stay", "leave"]),
            (["segments", "--dataset", "web", "--state", "ready", "--sort", "members"], ["bought", "viewed"]),
        ]:
            with self.subTest(args):
                self.assertEqual(self.listed(*args), wanted)
        for args, text in [(["audiences", "--state", "redy"], "did you mean ready?"), (["audiences", "--sort", "size"], "none of its words"),
                           (["segments", "--refresh", "daily"], "audiences"), (["audiences", "--modified-since", "soon"], "2026-10-01T00:00:00Z")]:  # fmt: skip
            self.assertIn(text, run("get", *args, code=64).err)
        self.assertIn("did you mean viewed?", run("get", "audiences", "--segment", "viewd", code=65).err)
        table = run("get", "audiences", "--owner", "anna").out.splitlines()
        self.assertRegex(table[0], r"^ID +NAME +STATE +MEMBERS +LAST REFRESHED +LAST MODIFIED +OWNER +TAGS +EXPIRES$")
        self.assertRegex(table[1], r"^leave +Those who go +ready +2 +2\S+Z +2\S+Z +anna +crm, a +2\S+Z$")
        # One definition whole.
        told = run("describe", "audience", "leave", "--json").json
        self.assertEqual((told["liveState"], told["members"], [e["action"] for e in told["history"]]), ("ready", 2, ["created"]))
        text = run("describe", "audience", "leave").out
        for line in ("Owner:      anna", "Tags:       crm, a", "Now:        ready, 2 members", "Expires:    2", "version 1 created by"):
            self.assertIn(line, text)
        # An edit that still warms up is taken back: nobody ever hears of it.
        told = len(read_all(self.kafka, f"{self.prefix}.memberships"))
        run("backfill", "pause", "viewed", "--who", "cy")
        self.site.define(segment("viewed", of_type("buy", window="1h"), owner="anna"))
        self.found("viewed", "paused")
        self.assertEqual(self.listed("segments", "--state", "paused"), ["viewed"])
        self.assertEqual(run("rollback", "segment", "viewed", "--json").json["version"], 3)
        self.found("viewed", "live", 2)
        run("backfill", "resume", "viewed")
        self.assertEqual(len(read_all(self.kafka, f"{self.prefix}.memberships")), told)
        rows = self.history("segment", "viewed")[1]
        self.assertEqual([(r["action"], r["version"]) for r in rows],
                         [("created", 1), ("paused", 1), ("configured", 2), ("rolled back", 3), ("resumed", 3)])  # fmt: skip
        self.assertEqual((rows[1]["who"], rows[2]["effect"], rows[3]["effect"]["toVersion"]), ("cy", {"membersBefore": 2}, 1))
        # What was known of the effect stands in the trail.
        self.site.define({**definitions[3], "name": "Leavers"})
        self.assertEqual(self.history("audience", "leave")[1][-1]["effect"], {"membersBefore": 2})
        self.assertIn("its 2 members stay as they are", run("delete", "audience", "stay").out)
        run("undelete", "audience", "stay")
        # A materialize that was down while they were deleted, and has lost its disk, knows what was wanted for their members.
        eventually(lambda: self.assertEqual({row["id"]: row["members"] for row in run("get", "audiences", "--json").rows}["stay"], 2), 60)
        materialize.terminate()
        for id in ("leave", "stay"):
            run("delete", "audience", id)
        self.assertEqual(self.history("audience", "stay")[1][-1]["effect"], {"onEnd": "keep"})
        shutil.rmtree(materialize.settings["state.dir"])
        materialize.start()
        wanted = {("leave", "a"): "exited", ("leave", "b"): "exited", ("stay", "a"): "realized", ("stay", "b"): "realized"}
        self.settled(wanted)
        run("undelete", "audience", "leave")
        self.settled({**wanted, ("leave", "a"): "realized", ("leave", "b"): "realized"})
        self.assertTrue(ingest.is_ready())


class EmbeddedTest(unittest.TestCase):
    def test_the_trail_outlives_the_broker(self):
        site = Pipeline(settings={"state.dir": None})
        self.addCleanup(site.close)
        site.settings = {"state.dir": site.folder / "run" / "state"}
        running = site.start("run", "--embedded", name="run")
        site.define(dataset(), segment("viewed", of_type("view")))
        site.define(segment("viewed", of_type("buy")))
        self.assertEqual(site.run("rollback", "segment", "viewed", "--json").json["version"], 3)
        site.run("delete", "segment", "viewed")
        running.terminate()
        running.start()
        self.assertEqual([r["action"] for r in site.run("history", "segment", "viewed", "--json").rows], ["created", "configured", "rolled back", "deleted"])
        self.assertEqual(site.run("undelete", "segment", "viewed", "--json").json["version"], 4)
        self.assertEqual(site.run("get", "segment", "viewed", "--json").json["definition"], segment("viewed", of_type("view")))


if __name__ == "__main__":
    unittest.main()
