"""Topics are made right and checked when they are there; prefixes keep installations apart; processes are idle when nothing
happens, end in order when told, and keep a configuration that works."""

# release only: it measures CPU time

import os
import time
import unittest

from confluent_kafka.admin import ConfigResource

from support import Kafka, Redis, create_topic, eventually, produce, topic_partitions, wait_until
from support.program import BUILD
from support.recompute import Changes, now_ms, snapshot
from support.site import Pipeline, audience, dataset, event, of_type, segment

# None: as many as the topics with person keys; 0: any number.
OWN = {"definitions": 1, "segments": None, "memberships": None, "deadletters": 0, "processes": 0}
COMPACTED = {"definitions", "segments", "memberships", "processes"}
SIMPLE = [dataset(), segment("viewed", of_type("view", window="1h")), audience("viewed")]


def setUpModule():
    global KAFKA
    KAFKA = Kafka().start()
    unittest.addModuleCleanup(KAFKA.close)


def topic_config(kafka, name):
    resource = ConfigResource(ConfigResource.Type.TOPIC, name)
    return {key: entry.value for key, entry in kafka.admin.describe_configs([resource])[resource].result(30).items()}


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class TopicsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.kafka = KAFKA

    def site(self, prefix, **settings):
        site = Pipeline(self.kafka, settings={"topics.prefix": prefix, "group.prefix": prefix, **settings})
        self.addCleanup(site.close)
        return site

    def assert_topics(self, prefix, partitions):
        there = topic_partitions(self.kafka)
        for name, n in OWN.items():
            topic = f"{prefix}.{name}"
            self.assertIn(topic, there)
            if n != 0:
                self.assertEqual(there[topic], n or partitions, topic)
            policy = topic_config(self.kafka, topic)["cleanup.policy"]
            self.assertEqual("compact" in policy, name in COMPACTED, f"{topic}: {policy}")

    def test_as_many_partitions_as_the_dataset_topics_have(self):
        create_topic(self.kafka, "three.events", 3)
        site = self.site("three")
        site.define(dataset("three"))
        self.assert_topics("three", 3)
        self.assertEqual(topic_partitions(self.kafka)["three.events"], 3)

    def test_four_where_none_exists_and_as_configured_otherwise(self):
        self.site("four").define(dataset("four"))
        self.assert_topics("four", 4)
        self.assertEqual(topic_partitions(self.kafka)["four.events"], 4)
        self.site("six", **{"topics.partitions": 6}).define(dataset("six"))
        self.assert_topics("six", 6)
        self.assertEqual(topic_partitions(self.kafka)["six.events"], 6)
        # A dataset that comes later gets as many.
        self.site("six").define(dataset("six-more"))
        self.assertEqual(topic_partitions(self.kafka)["six-more.events"], 6)

    def test_dataset_topics_that_disagree_are_refused(self):
        create_topic(self.kafka, "d2.events", 2)
        create_topic(self.kafka, "d5.events", 5)
        site = self.site("disagree")
        refused = site.define(dataset("d2"), dataset("d5"), code=78)
        for word in ("d2.events", "d5.events", "2", "5"):
            self.assertIn(word, refused.err)
        self.assertNotIn("disagree.definitions", topic_partitions(self.kafka), "apply changed something before it refused")

    def test_an_existing_topic_with_other_partitions_is_refused(self):
        create_topic(self.kafka, "other.memberships", 7, cleanup_policy="compact")
        create_topic(self.kafka, "other-web.events", 3)
        refused = self.site("other").define(dataset("other-web"), code=78)
        for word in ("other.memberships", "3", "7"):
            self.assertIn(word, refused.err)

    def test_an_existing_topic_without_compaction_is_refused(self):
        create_topic(self.kafka, "plain.segments", 4, cleanup_policy="delete")
        refused = self.site("plain").define(dataset("plain-web"), code=78)
        self.assertIn("plain.segments", refused.err)
        self.assertIn("compact", refused.err)

    def test_replication_that_cannot_be_had_is_an_error(self):
        refused = self.site("replicated", **{"topics.replication": 3}).define(dataset("replicated"), code=None)
        self.assertIn(refused.code, (69, 78))
        self.assertRegex(refused.err, "(?i)replication")


class PrefixTest(unittest.TestCase):
    def test_two_installations_share_a_cluster_and_a_store(self):
        kafka, sites = KAFKA, []
        with Redis() as redis:
            for prefix in ("alpha", "beta"):
                site = Pipeline(kafka, redis, settings={"topics.prefix": prefix, "group.prefix": prefix})
                self.addCleanup(site.close)
                site.define(dataset("web", topic=f"{prefix}.web"), *SIMPLE[1:])
                site.start("run")
                sites.append(site)
            for prefix in ("alpha", "beta"):
                produce(kafka, f"{prefix}.web", [event(f"{prefix}-{n}", now_ms()) for n in range(50)])
            for prefix in ("alpha", "beta"):
                wanted = {("viewed", ("id", f"{prefix}-{n}")) for n in range(50)}
                eventually(lambda: self.assertEqual(set(snapshot(redis, prefix)[0]), wanted), 20)
                self.assertEqual({(c.target, c.person) for c in Changes(kafka, f"{prefix}.memberships")}, wanted)
            self.assertEqual([name for name in topic_partitions(kafka) if name.startswith("rollcall.")], [])
            for site in sites:
                site.close()


class ProcessTest(unittest.TestCase):
    """Three processes on a quiet pipeline."""

    @classmethod
    def setUpClass(cls):
        cls.kafka = KAFKA
        cls.redis = Redis().start()
        cls.addClassCleanup(cls.redis.close)

    def setUp(self):
        prefix = "p" + self.id().rpartition("_")[2]
        self.site = Pipeline(self.kafka, self.redis, settings={"topics.prefix": prefix, "group.prefix": prefix})
        self.addCleanup(self.site.close)
        self.topic = f"{prefix}.web"
        self.site.define(dataset(topic=self.topic), *SIMPLE[1:])

    def test_cpu_of_the_idle(self):
        self.site.start_all()
        produce(self.kafka, self.topic, [event(f"u{n}", now_ms()) for n in range(500)])
        wait_until(lambda: len(snapshot(self.redis, self.site.settings["topics.prefix"])[0]) == 500, 20, "500 profiles")
        time.sleep(2)
        before = [cpu_seconds(p.pid) for p in self.site.all]
        time.sleep(10)
        shares = [(cpu_seconds(p.pid) - b) / 10 for p, b in zip(self.site.all, before)]
        print("\nidle: " + ", ".join(f"{p.name} {100 * share:.2f} %" for p, share in zip(self.site.all, shares)))
        for process, share in zip(self.site.all, shares):
            self.assertLess(share, 0.01 if BUILD == "release" else 0.1, process.name)

    def test_term(self):
        self.site.start_all()
        produce(self.kafka, self.topic, [event(f"u{n}", now_ms()) for n in range(2000)])
        for process in self.site.all:
            began = time.monotonic()
            process.terminate(code=0)
            took = time.monotonic() - began
            print(f"\n{process.name} ended {took:.2f} s after SIGTERM")
            self.assertLess(took, 10)
        # Nothing was lost by the order of their end: started again, they go on.
        for process in self.site.all:
            process.start()
        wait_until(lambda: len(snapshot(self.redis, self.site.settings["topics.prefix"])[0]) == 2000, 30, "2000 profiles")

    def test_term_twice(self):
        self.site.start_all()
        # Nobody acknowledges any more: draining would wait for the broker.
        self.kafka.pause()
        self.addCleanup(lambda: self.kafka.child and self.kafka.resume())
        for process in self.site.all:
            process.child.signal(15)
        time.sleep(0.5)
        for process in self.site.all:
            child, process.child = process.child, None
            began = time.monotonic()
            if child.running():
                child.signal(15)
            child.wait(5)
            self.assertLess(time.monotonic() - began, 2, process.name)
        self.kafka.resume()

    def test_hup(self):
        config = self.site.folder / "rollcall.conf"
        config.write_text("log.level = info\n")
        ingest = self.site.start("ingest", "--config", config)
        config.write_text("log.level = info\nlog.levle = debug\n")
        ingest.hangup()
        wait_until(lambda: "log.levle" in ingest.log_text(), 10, "the bad configuration to be told")
        line = next(line for line in ingest.log_text().splitlines() if "log.levle" in line)
        self.assertIn("level=error", line)
        self.assertIn(f"{config}:2", line)
        self.assertEqual(ingest.get("/readyz")[0], 200)
        # A live key is: from now on nothing is told below an error.
        config.write_text("log.level = error\n")
        ingest.hangup()
        time.sleep(1)
        told = ingest.log_text().count("configuration read again")
        ingest.hangup()
        time.sleep(1)
        self.assertEqual(ingest.log_text().count("configuration read again"), told)
        # A key that is taken up at the next start only is named.
        config.write_text("log.level = info\ncheckpoint.interval = 3s\n")
        ingest.hangup()
        wait_until(lambda: "checkpoint.interval" in ingest.log_text(), 10, "the key that waits for a restart")
        produce(self.kafka, self.topic, [event("u", now_ms())])
        wait_until(lambda: Changes(self.kafka, f"{self.site.settings['topics.prefix']}.segments"), 10, "a change after it all")

    def test_http(self):
        run = self.site.start("run")
        self.assertEqual(run.get("/healthz")[0], 200)
        self.assertEqual(run.get("/nothing")[0], 404)
        status, body = run.get("/metrics")
        self.assertEqual(status, 200)
        self.assertIn("# TYPE ", body)
        produce(self.kafka, self.topic, [event(f"secret{n}", now_ms()) for n in range(20)])
        prefix = self.site.settings["topics.prefix"]
        wait_until(lambda: len(snapshot(self.redis, prefix)[0]) == 20, 20, "20 profiles")
        self.assertNotIn("secret", run.get("/metrics")[1] + run.get("/status")[1] + run.log_text(), "a person id was told")


if __name__ == "__main__":
    unittest.main()
