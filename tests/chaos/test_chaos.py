"""Faults of chance under load: kill -9 and SIGSTOP of each consumer, Redis and the broker restarted or stalled. At the end everything equals
the recomputation, and no version ever had two contents. ROLLCALL_CHAOS_SECONDS says how long (default 60); the seed is printed.

What is left out: loss of a disk, and several processes of a role (their code comes later)."""

import os
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support import Kafka, Redis, wait_until  # noqa: E402
from support.recompute import Changes, Recomputation, assert_same_changes, assert_versions, now_ms, snapshot, standing, store_differences  # noqa: E402
from support.site import ROLES, SLOW, Pipeline, ecom_definitions, ecom_file, seed_of_run  # noqa: E402

SECONDS = float(os.environ.get("ROLLCALL_CHAOS_SECONDS") or 60)
GRACE_MS = 1000  # the machine is busy with restarts; events may be this late
SLACK_MS = GRACE_MS + 750 * SLOW


class ChaosTest(unittest.TestCase):
    def run_under(self, durable, faults, strict):
        """`strict`: the broker stays up, so events come in time order and on time, and no change may be a false one."""
        random = seed_of_run(self.id())
        with Kafka() as kafka, Redis(durable=durable) as redis, Pipeline(kafka, redis) as site:
            dataset, segments, audiences = ecom_definitions(f"{GRACE_MS}ms")
            definitions = [dataset, *segments, *audiences]
            site.define(*definitions)
            site.start_all()
            sending = site.send("--dataset", "ecom", "--sort", "--pace", f"{SECONDS / 2:g}s", ecom_file())
            end = time.monotonic() + SECONDS / 2
            time.sleep(2)
            while time.monotonic() < end:
                fault = random.choice(faults)
                at = time.monotonic()
                told = fault(random, kafka, redis, site)
                print(f"{at - end + SECONDS / 2:6.1f} s  {told}; back after {time.monotonic() - at:.2f} s", flush=True)
                time.sleep(random.uniform(0.2, 3))
            result = sending.done()
            self.assertEqual(result["sent"], 31106)
            for process in site.all:
                process.wait_ready()
            truth = Recomputation(definitions, kafka)
            timeline = truth.timeline(now_ms() + 120_000 * SLOW)
            try:
                wait_until(lambda: not self.differences(timeline, *snapshot(redis), strict), 30 * SLOW, "the store to be as recomputed", interval=1)
            except AssertionError:
                pass  # told below
            time.sleep(1)
            store, at = snapshot(redis)
            wrong = self.differences(timeline, store, at, strict)
            self.assertEqual(wrong, [], f"{len(wrong)} memberships in the store are not as recomputed")
            until, seen = now_ms() - 1000 * SLOW, Changes(kafka)
            assert_versions(seen, in_time=strict)
            assert_versions(Changes(kafka, "rollcall.segments"), in_time=strict)
            if strict:
                n = assert_same_changes(truth, seen, until, timeline=timeline)
                print(f"\n{n} changes, the same as recomputed")
            print(f"\n{len(store)} memberships in Redis as recomputed; {len(seen)} records on the topic", flush=True)

    @staticmethod
    def differences(timeline, store, at, strict):
        """Events that the broker kept waiting come late: what was decided without them is put right, but the instant of the last change is
        then the one that the history as it was read shows. Who is a member must be right in any case."""
        wrong = store_differences(timeline, store, at, SLACK_MS)
        if strict:
            return wrong
        sure, newest = standing(timeline, at - SLACK_MS), standing(timeline, at)
        realized = lambda known, key: key in known and known[key][0] == "realized"  # noqa: E731
        return [key for key in set(newest) | set(store) if newest.get(key) == sure.get(key)
                and (key in store and store[key]["status"] == "realized") != realized(newest, key)]  # fmt: skip

    def test_consumers_and_the_store(self):
        self.run_under(True, [kill, kill, stop, restart_redis, stall_redis], strict=True)

    def test_the_broker_too(self):
        self.run_under(False, [kill, stop, wipe_redis, restart_kafka, stall_kafka], strict=False)


def kill(random, kafka, redis, site):
    roles = random.sample(ROLES, random.choice([1, 1, 2, 3]))
    for role in roles:
        getattr(site, role).kill()
    for role in roles:
        process = getattr(site, role)
        process.ready = False
        process.start()
        if random.random() < 0.3:  # again, before it is ready
            time.sleep(random.uniform(0, 1))
            process.kill()
            process.start()
    for role in roles:
        getattr(site, role).wait_ready()
    return f"kill {' '.join(roles)}"


def stop(random, kafka, redis, site):
    role, seconds = random.choice(ROLES), random.uniform(0.5, 4)
    getattr(site, role).pause()
    time.sleep(seconds)
    getattr(site, role).resume()
    return f"stop {role} for {seconds:.1f} s"


def restart_redis(random, kafka, redis, site):
    random.choice([redis.kill, redis.stop])()
    time.sleep(random.uniform(0, 2))
    redis.start()
    return "restart Redis, its data kept"


def wipe_redis(random, kafka, redis, site):
    restart_redis(random, kafka, redis, site)
    return "restart Redis, its data lost"


def stall_redis(random, kafka, redis, site):
    redis.pause()
    time.sleep(random.uniform(0.2, 3))
    redis.resume()
    return "stall Redis"


def restart_kafka(random, kafka, redis, site):
    random.choice([kafka.kill, kafka.stop])()
    time.sleep(random.uniform(0, 1))
    kafka.start()
    return "restart the broker"


def stall_kafka(random, kafka, redis, site):
    kafka.pause()
    time.sleep(random.uniform(0.5, 4))
    kafka.resume()
    return "stall the broker"


if __name__ == "__main__":
    unittest.main()
