"""Snapshots of members under load, held against the topic at their cut and against the naive evaluator; the filters of `members` and
`tail`, held against the topic; and the latency that `status` tells of all this, hop by hop and per audience."""

import csv
import io
import json
import random
import subprocess
import threading
import time
import unittest

import fastavro

from support import ROOT, Installation, Kafka, produce, read_all
from support.basics import eventually
from support.program import BINARY, _settings, environment
from support.recompute import Changes, Recomputation, now_ms, standing
from support.site import SLOW, audience, dataset, of_type, segment
from support.topics import decode

ODD = ["plain", "with,comma", 'with "quotes"', "line\nend", "åäö 漢字", "back\\slash", "a:b:c", "pipe|bar"]
FLIPS = 6000


def flip(user, n, at):
    return f"id:{user}".encode(), json.dumps({"user": user, "ts": at, "id": f"{user}-{n}", "type": ("on", "off")[n % 2]}).encode()


class ExportTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.kafka = Kafka().start()
        cls.addClassCleanup(cls.kafka.close)
        cls.site = Installation(cls.kafka)
        cls.addClassCleanup(cls.site.close)
        cls.definitions = [
            dataset(event_id={"path": "id"}),
            segment("lit", {"latest": "type", "is": {"eq": "on"}}),
            segment("dark", {"not": {"latest": "type", "is": {"eq": "on"}}}),
            segment("busy", of_type("on", count={"ge": 2})),
            audience("lit"),
            audience("dark"),
            audience("both", {"and": [{"segment": "lit"}, {"segment": "busy"}]}),
        ]
        cls.site.run("apply", "-f", cls.site.write("defined.json", cls.definitions))
        cls.site.start("ingest")
        cls.site.start("materialize")
        cls.sinks = [cls.site.start("sink", name=name, settings={"sink.default": f"embedded:{cls.site.folder}/{name}-store"}) for name in ("s1", "s2")]

    def rows(self, text):
        return {(r["audience" if "audience" in r else "segment"], (r["namespace"], r["personId"]), int(r["since"]), int(r["version"])) for r in text}

    def export(self, *args, name):
        """(summary, rows as dicts) of an export into a file, by its format."""
        path = self.site.folder / name
        said = self.site.run("export", *args, "--format", path.suffix[1:], "--out", path, "--json", timeout=120 * SLOW).json
        self.assertFalse([p for p in path.parent.iterdir() if p.name.endswith(".tmp")])
        if path.suffix == ".csv":
            found = list(csv.DictReader(io.StringIO(path.read_bytes().decode(), newline="")))
        elif path.suffix == ".avro":
            with open(path, "rb") as file:
                reader = fastavro.reader(file)
                found = [{**row, **{key: int(row[key].timestamp() * 1000 + 0.5) for key in ("since", "asOf")}} for row in reader]
                self.assertEqual(json.loads(reader.metadata["rollcall.snapshot"])["ends"], said["ends"])
        else:
            found = [json.loads(line) for line in path.read_text().split("\n") if line]
        self.assertEqual({int(row["asOf"]) for row in found} | {said["asOf"]}, {said["asOf"]})
        self.assertEqual(len(found), said["members"])
        self.assertEqual(len(self.rows(found)), len(found))
        return said, found

    def whole(self, said):
        """The records before the ends that an export has named, but for decisions that go on behind them."""
        open_, whole = {}, []
        for record in read_all(self.kafka, said["topic"]):
            if record.offset < said["ends"][str(record.partition)] and record.value is not None:
                person = record.key.rpartition(b"|")[0]
                open_.setdefault(person, []).append(record)
                if dict(record.headers or ()).get("more") != b"1":
                    whole += open_.pop(person)
        return whole, sum(map(len, open_.values()))

    def at_cut(self, said, wanted=None):
        """What the topic says at the ends that an export has named: the highest version of each key."""
        name, target = ("segment_membership", "segment") if said["topic"].endswith("segments") else ("membership", "audience")
        latest = {}
        for record in self.whole(said)[0]:
            value = decode(name, record.value)
            if value:
                if not value[target].startswith("_") and value["version"] >= latest.get(record.key, {"version": -1})["version"]:
                    latest[record.key] = value
        return {(v[target], (v["namespace"], v["personId"]), round(v["since"].timestamp() * 1000), v["version"])
                for v in latest.values() if v["status"] == "realized" and (wanted is None or v[target] in wanted)}  # fmt: skip

    def test_1_consistent_under_load(self):
        users, stop, sent = [*ODD, *(f"p{n}" for n in range(60))], threading.Event(), {}

        def load():
            rng = random.Random(1)
            while not stop.is_set() and sum(sent.values()) < FLIPS:
                batch = rng.sample(users, 20)
                for user in batch:
                    sent[user] = sent.get(user, -1) + 1
                at = now_ms()
                produce(self.kafka, "web.events", [flip(user, sent[user], at) for user in batch])

        thread = threading.Thread(target=load)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(stop.set)
        eventually(lambda: self.assertTrue(Changes(self.kafka)), 30 * SLOW)
        names = set()
        for n, name in enumerate(("a.jsonl", "b.csv", "c.avro", "d.jsonl")):
            said, found = self.export(name=name)
            self.assertEqual(self.rows(found), self.at_cut(said))
            self.assertEqual((said["topic"].endswith("memberships"), said["leftOut"]), (True, self.whole(said)[1]), said)
            names |= {row["audience"] for row in found}
            # Nor of audiences that do: one of them is left, and the other entered, by one decision.
            members = [(row["namespace"], row["personId"]) for row in found if row["audience"] != "both"]
            self.assertEqual(len(members), len(set(members)), said)
            if n > 1:
                self.assertGreaterEqual(len(members) + said["leftOut"], len(users), said)
            # Of segments that flip together a person is in one, never in none or both: no decision is cut.
            said, found = self.export("lit", "dark", "--segments", name=f"s-{name}")
            members = [(row["namespace"], row["personId"]) for row in found]
            self.assertEqual(len(members), len(set(members)), said)
            if n:  # from now on everybody exists
                eventually(lambda: self.assertEqual(set(sent), set(users)), 30 * SLOW)
        self.assertEqual(names, {"lit", "dark", "both"})
        stop.set()
        thread.join()
        self.quiet()

    def quiet(self):
        """Nothing moves any more: an export is what the naive evaluator says, and odd ids come through every format."""
        truth = Recomputation(self.definitions, self.kafka)

        def agrees():
            said, found = self.export(name="quiet.jsonl")
            at = said["asOf"]
            right = {(target, person, since) for (target, person), (status, since) in standing(truth.timeline(at), at).items() if status == "realized"}
            self.assertEqual({row[:3] for row in self.rows(found)}, right)
            return found

        found = eventually(agrees, 30 * SLOW)
        for name in ("quiet.csv", "quiet.avro"):
            self.assertEqual(self.rows(self.export(name=name)[1]), self.rows(found), name)
        self.assertEqual({row["personId"] for row in found}, {*ODD, *(f"p{n}" for n in range(60))})
        some = self.export("both", name="both.jsonl")[1]
        self.assertEqual(self.rows(some), {row for row in self.rows(found) if row[0] == "both"})
        piped = self.site.run("export", "both", "--json")  # members on stdout, what it is on stderr
        self.assertEqual(self.rows(piped.rows), self.rows(some))
        self.assertEqual(json.loads(piped.err)["members"], len(some))

    def test_2_whole_or_not_at_all(self):
        site, path = self.site, self.site.folder / "kept.jsonl"
        path.write_text("what was there\n")
        site.run("export", "nothing", "--out", path, code=65)
        site.run("export", "--format", "xml", code=64)
        site.run("export", "--out", site.folder / "no" / "folder.jsonl", code=65)
        site.run("export", "lit", "--out", path, settings={"kafka.bootstrap.servers": "127.0.0.1:1"}, code=69)
        for after in (0.02, 0.1, 0.3):
            command = [str(BINARY), "export", "--out", str(path), *_settings(site.settings)]
            child = subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(after)
            child.kill()
            child.wait()
            text = path.read_text()
            if text != "what was there\n":  # it was done before
                self.assertTrue(text.endswith("}\n"))
                self.assertEqual({json.loads(line)["audience"] for line in text.split("\n") if line} - {"lit", "dark", "both"}, set())

    def test_3_schemas(self):
        """The schema in the file is the one in schemas/, but for the texts of doc."""

        def bare(value):
            if isinstance(value, dict):
                return {key: bare(one) for key, one in value.items() if key != "doc"}
            return [bare(one) for one in value] if isinstance(value, list) else value

        for args, name in (((), "member"), (("--segments",), "segment_member")):
            path = self.site.folder / f"{name}.avro"
            self.site.run("export", *args, "--format", "avro", "--out", path)
            with open(path, "rb") as file:
                written = json.loads(fastavro.reader(file).metadata["avro.schema"])
            self.assertEqual(written, bare(json.loads((ROOT / "schemas" / f"{name}.avsc").read_text())))

    def test_4_filters(self):
        """`members` and `tail` give what the topic has, cut down in the same way."""
        site = self.site
        changes, segments = Changes(self.kafka), [c for c in Changes(self.kafka, "rollcall.segments") if not c.target.startswith("_")]
        middle = sorted(c.emitted for c in changes)[len(changes) // 2]
        person = changes[0].person

        def tail(wanted, *args, topic="audience"):
            self.assertTrue(wanted, args)
            rows = site.run("tail", *args, "--count", len(wanted), "--json").rows
            self.assertEqual(sorted((r[topic], r["namespace"], r["id"], r["version"], r["cause"]) for r in rows),
                             sorted((c.target, *c.person, c.version, c.cause) for c in wanted), args)  # fmt: skip

        beginning = ("--from-beginning",)
        tail([c for c in changes if c.target == "both" and c.status == "exited"], *beginning, "--audience", "both", "--status", "exited")
        tail([c for c in changes if c.person == person], *beginning, "--person", f"{person[0]}:{person[1]}", "--namespace", "id")
        tail([c for c in segments if c.target == "busy" and c.cause == "event"], *beginning, "--segment", "busy", "--cause", "event", topic="segment")
        late = site.run("tail", "--since", time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(middle / 1000)), "--count", 5, "--json").rows
        self.assertTrue(all(row["emittedAt"] >= middle - 1000 for row in late), (middle, late))
        both = site.run("tail", *beginning, "--segment", "lit", "--audience", "lit", "--count", 200, "--json").rows
        self.assertEqual({row.get("segment", row.get("audience")) for row in both}, {"lit"})
        self.assertIn("segment/lit", site.run("tail", *beginning, "--segment", "lit", "--count", 1).out)
        site.run("tail", "--cause", "magic", code=64)
        site.run("tail", "--since", "yesterday", code=64)

        members = site.run("members", "lit", "--json").rows
        self.assertEqual(site.run("members", "lit", "--json", "--limit", 3).rows, members[:3])
        self.assertEqual(site.run("members", "lit", "--json", "--namespace", "id").rows, members)
        self.assertEqual(site.run("members", "lit", "--json", "--namespace", "other").rows, [])
        cut = sorted(row["since"] for row in members)[len(members) // 2] // 1000 * 1000
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(cut / 1000))
        self.assertEqual(site.run("members", "lit", "--json", "--since", stamp).rows, [row for row in members if row["since"] >= cut])
        self.assertEqual(int(site.run("members", "lit", "--since", stamp, "--count").out), sum(row["since"] >= cut for row in members))

    def test_5_latency(self):
        """Two sinks have half of the persons each: what status says is of both, and counts what the topic holds."""
        by_event = {}
        for change in Changes(self.kafka):
            by_event[change.target] = by_event.get(change.target, 0) + (change.cause == "event")

        def told():
            rows = self.site.run("status", "--json").rows
            found = {row["id"]: row["latency"] for row in rows if row["type"] == "audience"}
            self.assertEqual({id: latency["count"] for id, latency in found.items()}, by_event)
            return found, {row["hop"]: row for row in rows if row["type"] == "latency"}

        audiences, hops = eventually(told, 30 * SLOW)
        halves = [sink.metric("rollcall_sink_audience_event_to_profile_seconds_count", audience="lit") for sink in self.sinks]
        self.assertTrue(all(halves) and sum(halves) == by_event["lit"], (halves, by_event))
        for latency in audiences.values():
            self.assertTrue(0 < latency["p50"] <= latency["p99"], audiences)
        self.assertEqual(list(hops), ["event_to_segment", "due_to_segment", "segment_to_membership", "membership_to_store", "event_to_store"])
        self.assertEqual(hops["event_to_store"]["count"], sum(by_event.values()))
        self.assertTrue(all(0 < hop["p50"] <= hop["p99"] for name, hop in hops.items() if name != "due_to_segment"), hops)
        self.assertEqual((hops["due_to_segment"]["count"], hops["due_to_segment"]["p50"]), (0, None))  # nothing here leaves by time alone
        page = self.site.run("status").out
        for text in ("EVENT TO PROFILE p50 / p99", "segment change to membership", "membership to store"):
            self.assertIn(text, page)


if __name__ == "__main__":
    unittest.main()
