"""Three ingest, two materialize and two sinks share eight partitions. Under load members leave for good, stop for a while, are killed, stand
still for longer than their session, and a broker is away for longer than that: partitions go where they should as soon as they should, and
what is known and what was ever said stays exact."""

# release only: it measures times, and what it shows of groups does not depend on the build

import json
import re
import time
import unittest

from support import Kafka, Redis, wait_until
from support.recompute import Changes, Recomputation, assert_same_changes, assert_store, assert_versions, now_ms, snapshot, standing
from support.site import Pipeline, ecom_definitions, ecom_file

PARTITIONS = 8
SESSION_S = 10
GRACE_MS = 3000  # seven processes and a broker: `produce` may be late by more than a second, and late events change what is true
LEFT_S = 3  # how soon the partitions of a member that leaves for good have a reader again
MEMBERS = {"ingest": 3, "materialize": 2, "sink": 2}


def owned(process):
    """The partitions that a process works on; None while it does not answer."""
    status, body = process.get("/status", timeout=1)
    if status != 200:
        return None
    rows = json.loads(body)["roles"].get(process.args[0], {}).get("partitions", [])
    return {row["partition"] for row in rows if row.get("state") not in ("waiting", "released")}


def assert_receiver_never_goes_back(seen):
    """A receiver that reads a partition in its order and keeps the highest version."""
    known = {}
    for change in seen:
        before = known.get((change.target, change.person))
        if before is None or change.version > before.version:
            assert before is None or change.since >= before.since, f"a receiver goes back:\n  {before}\n  {change}"
            known[change.target, change.person] = change
    return {key: (change.status, change.since) for key, change in known.items()}


class GroupsTest(unittest.TestCase):
    DELIVERY = "at_least_once"
    SETTLING_S = 5

    @classmethod
    def setUpClass(cls):
        cls.kafka = Kafka().start()
        cls.addClassCleanup(cls.kafka.close)
        cls.redis = Redis().start()
        cls.addClassCleanup(cls.redis.close)
        cls.site = Pipeline(cls.kafka, cls.redis, settings={"topics.partitions": PARTITIONS, "delivery": cls.DELIVERY})
        cls.addClassCleanup(cls.site.close)
        dataset, segments, audiences = ecom_definitions(f"{GRACE_MS}ms")
        cls.definitions = [dataset, *segments, *audiences]
        cls.site.define(*cls.definitions)
        cls.configuration = cls.site.write("sink.conf", "group.leave = false\n")
        cls.members = {}
        for role, n in MEMBERS.items():
            for i in range(n):
                more = ["--config", cls.configuration] if (role, i) == ("sink", 1) else []
                cls.members[role, i] = cls.site.start(role, *more, name=f"{role}-{i + 1}", ready=False)
        for process in cls.members.values():
            process.wait_ready()
        cls.told = {}
        cls._load()
        time.sleep(2)
        cls.store, cls.at = snapshot(cls.redis)
        cls.until = now_ms() - GRACE_MS - 500
        cls.seen, cls.segments = (Changes(cls.kafka, f"rollcall.{what}", committed=True) for what in ("memberships", "segments"))
        cls.truth = Recomputation(cls.definitions, cls.kafka)
        cls.timeline = cls.truth.timeline(now_ms())

    @classmethod
    def _spread(cls, role, without=()):
        """Every partition of the role has exactly one owner, and every member some."""
        shares = [owned(p) for (r, i), p in cls.members.items() if r == role and i not in without]
        return None not in shares and all(shares) and sorted(n for share in shares for n in share) == list(range(PARTITIONS))

    @classmethod
    def _until_spread(cls, what, role, without=(), most=45.0):
        began = time.monotonic()
        wait_until(lambda: cls._spread(role, without), most, lambda: f"{role} to be shared out: {what}", interval=0.05)
        cls.told[what] = time.monotonic() - began
        print(f"{what}: shared out after {cls.told[what]:.2f} s", flush=True)

    @classmethod
    def _load(cls):
        for role in MEMBERS:
            cls._until_spread(f"first {role}", role)
        sending = cls.site.send("--dataset", "ecom", "--sort", "--pace", "90s", ecom_file())
        time.sleep(2)

        # Killed and started again: nobody else notices.
        before = cls._given_back()
        cls.members["ingest", 0].kill()
        cls.members["ingest", 0].start()
        cls._until_spread("killed ingest", "ingest")
        cls.told["noticed"] = cls._given_back() - before

        # Left for good, by a setting from the start; by a setting that a SIGHUP brought; and one more that comes.
        leaver = cls.members["ingest", 2]
        leaver.terminate()
        leaver.start(**{"group.leave": True})
        cls._until_spread("restarted ingest", "ingest")
        leaver.terminate()
        cls._until_spread("left ingest", "ingest", without=[2])
        cls.configuration.write_text("group.leave = true\n")
        cls.members["sink", 1].hangup()
        wait_until(lambda: "configuration read again" in cls.members["sink", 1].log_text(), 10, "the configuration to be read again")
        cls.members["sink", 1].terminate()
        cls._until_spread("left sink", "sink", without=[1])
        leaver.ready = False
        leaver.start()
        cls._until_spread("joined ingest", "ingest")

        # Stopped without leaving: its place is kept for a session.
        cls.members["materialize", 1].terminate()
        cls._until_spread("stopped materialize", "materialize", without=[1])
        cls.members["materialize", 1].start()
        cls.members["sink", 1].start()
        cls._until_spread("joined materialize", "materialize")

        # Stood still for longer than a session, and woke up when others have its partitions.
        sleepers = [("ingest", 1), ("materialize", 0), ("sink", 0)]
        for key in sleepers:
            cls.members[key].pause()
        for role, i in sleepers:
            cls._until_spread(f"stood still {role}", role, without=[i])
        time.sleep(1)
        assert sending.running(), "the load ended before the last fault"
        for key in sleepers:
            cls.members[key].resume()
        for role, _ in sleepers:
            cls._until_spread(f"woke up {role}", role)
        assert sending.done()["sent"] == 31106
        for process in cls.members.values():
            process.wait_ready()
            assert process.running(), process.name

    @classmethod
    def _given_back(cls):
        return sum(len(re.findall(r'msg="partitions? given back"', p.log_text())) for (role, i), p in cls.members.items() if (role, i) != ("ingest", 0))

    def test_a_member_that_comes_back_in_time_moves_nothing(self):
        self.assertEqual(self.told["noticed"], 0)

    def test_a_member_that_leaves_for_good_gives_its_partitions_up_at_once(self):
        self.assertLess(self.told["left ingest"], LEFT_S)
        self.assertLess(self.told["left sink"], LEFT_S)

    def test_the_place_of_a_member_that_stops_is_kept_for_a_session(self):
        for what in ("stopped materialize", "stood still ingest"):
            self.assertGreater(self.told[what], SESSION_S / 2, what)
            self.assertLess(self.told[what], SESSION_S + self.SETTLING_S, what)

    def test_redis_equals_the_recomputation(self):
        known = assert_store(self.timeline, self.store, self.at, GRACE_MS + 750)
        print(f"\n{known} memberships in Redis as recomputed")

    def test_no_false_change_and_none_missing(self):
        n = assert_same_changes(self.truth, self.seen, self.until, timeline=self.timeline)
        print(f"\n{n} changes, the same as recomputed; {len(self.seen)} records on the topic")

    def test_the_topic_equals_the_recomputation(self):
        known = assert_receiver_never_goes_back(self.seen)
        sure, newest = standing(self.timeline, self.until), standing(self.timeline, now_ms())
        wrong = {key: (known.get(key), sure.get(key)) for key in set(known) | set(sure)
                 if known.get(key) != sure.get(key) and newest.get(key) == sure.get(key)}  # fmt: skip
        self.assertEqual(wrong, {})

    def test_a_version_has_one_content(self):
        # Without transactions an owner that woke up may have told again, under its old epoch, what the new owner has told.
        for seen in (self.seen, self.segments):
            assert_versions(seen, in_time=self.DELIVERY == "exactly_once")
            assert_receiver_never_goes_back(seen)


class ExactlyOnceGroupsTest(GroupsTest):
    """The same in transactions: what a former owner had open when it was stopped is seen by nobody."""

    DELIVERY = "exactly_once"
    SETTLING_S = 25  # its transaction times out after 10 s, which the broker notices within 10 s


class BrokerAwayTest(unittest.TestCase):
    """The broker is away for longer than a session: whoever was in the group is in it again, in the same processes."""

    def test_it_goes_on_by_itself(self):
        with Kafka() as kafka, Redis() as redis, Pipeline(kafka, redis) as site:
            dataset, segments, audiences = ecom_definitions(f"{GRACE_MS}ms")
            definitions = [dataset, *segments, *audiences]
            site.define(*definitions)
            site.start_all()
            pids = [process.pid for process in site.all]
            sending = site.send("--dataset", "ecom", "--sort", "--pace", "45s", ecom_file())
            for _ in range(2):
                time.sleep(3)
                kafka.kill()
                time.sleep(SESSION_S + 3)
                kafka.start()
            self.assertEqual(sending.done()["sent"], 31106)
            for process in site.all:
                process.wait_ready()
            self.assertEqual(pids, [process.pid for process in site.all])
            truth = Recomputation(definitions, kafka)
            timeline = truth.timeline(now_ms() + 120_000)
            # Events came late, so an instant may be another one; who is a member is right.
            members = lambda known: {key for key, (status, _) in known.items() if status == "realized"}  # noqa: E731

            def settled():
                store, at = snapshot(redis)
                in_store = {key for key, value in store.items() if value["status"] == "realized"}
                sure, newest = members(standing(timeline, at - GRACE_MS - 750)), members(standing(timeline, at))
                return not (in_store - (sure | newest)) and not ((sure & newest) - in_store)

            wait_until(settled, 40, "the store to be as recomputed", interval=1)
            for process in site.all:
                print(process.name, process.log_text().count("begins again"), "times begun again", flush=True)


if __name__ == "__main__":
    unittest.main()
