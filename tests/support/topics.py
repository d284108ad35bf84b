"""Topics seen by somebody else's clients: librdkafka's Python client, Kafka's own Java tools, fastavro."""

import io
import json
import struct
import subprocess
import time
from dataclasses import dataclass, field
from functools import lru_cache

import fastavro
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import NewTopic

from .basics import ROOT
from .broker import java

# --- keys and partitions


def person_key(namespace, person):
    """The bytes `namespace:id`; ":" and "\\" inside the namespace are escaped with "\\"."""
    return (namespace.replace("\\", "\\\\").replace(":", "\\:") + ":" + person).encode()


def murmur2(data):
    """Kafka's murmur2 (the Java client's), as an unsigned number."""
    mask, m = 0xFFFFFFFF, 0x5BD1E995
    h = (0x9747B28C ^ len(data)) & mask
    whole = len(data) & ~3
    for (k,) in struct.iter_unpack("<I", data[:whole]):
        k = k * m & mask
        k = (k ^ k >> 24) * m & mask
        h = h * m & mask ^ k
    rest = data[whole:]
    if rest:
        h = (h ^ int.from_bytes(rest, "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return h ^ h >> 15


def partition_of(key, partitions):
    """The partition that the Java client's default partitioner chooses for a key."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


# --- topics


def _bootstrap(kafka):
    return kafka if isinstance(kafka, str) else kafka.bootstrap


def create_topic(kafka, name, partitions=4, **config):
    """create_topic(kafka, "web.events", 4, cleanup_policy="compact"): underscores stand for dots."""
    config = {key.replace("_", "."): str(value) for key, value in config.items()}
    new = NewTopic(name, num_partitions=partitions, replication_factor=1, config=config)
    kafka.admin.create_topics([new], operation_timeout=30)[name].result(30)


def delete_topic(kafka, name):
    kafka.admin.delete_topics([name], operation_timeout=30)[name].result(30)


def topic_partitions(kafka):
    """{name: number of partitions}, Kafka's own left out."""
    seen = kafka.admin.list_topics(timeout=10).topics
    return {name: len(t.partitions) for name, t in seen.items() if not name.startswith("__")}


@dataclass
class Record:
    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes
    value: bytes
    headers: dict = field(default_factory=dict)


def produce(kafka, topic, records, timeout=60.0, **config):
    """Sends and waits for every acknowledgement. A record is (key, value), (key, value, timestamp in ms) or a dict with key, value and,
    if wanted, headers, timestamp, partition. Keys go where the Java client would send them. Returns [(partition, offset)] in order."""
    producer = Producer(
        {"bootstrap.servers": _bootstrap(kafka), "partitioner": "murmur2_random", "linger.ms": 5, "acks": "all", "log_level": 2,
         "enable.idempotence": True, "message.max.bytes": 8 * 1024 * 1024, **config}
    )  # fmt: skip
    placed, failed = {}, []

    def told(index):
        def callback(error, message):
            if error:
                failed.append(f"record {index}: {error}")
            else:
                placed[index] = (message.partition(), message.offset())

        return callback

    count = 0
    for index, record in enumerate(records):
        given = record if isinstance(record, dict) else dict(zip(("key", "value", "timestamp"), record))
        while True:
            try:
                producer.produce(topic, callback=told(index), **given)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
        count += 1
    left = producer.flush(timeout)
    assert not failed and not left, f"{topic}: {left} records not acknowledged in {timeout:g} s; {failed[:3]}"
    return [placed[i] for i in range(count)]


def _reader(kafka, **config):
    return Consumer(
        {"bootstrap.servers": _bootstrap(kafka), "group.id": "reader-that-never-commits", "enable.auto.commit": False,
         "auto.offset.reset": "error", "enable.partition.eof": True, "fetch.wait.max.ms": 50, "log_level": 2, **config}
    )  # fmt: skip


def _partitions(consumer, topic):
    seen = consumer.list_topics(topic, timeout=10).topics[topic]
    assert seen.error is None, f"{topic}: {seen.error}"
    return sorted(seen.partitions)


def _watermarks(reader, topic, partition):
    """(first offset, next offset), also of a topic that was made a moment ago and has no leader yet."""
    for _ in range(100):
        try:
            return reader.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
        except KafkaException as error:
            if error.args[0].code() not in (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE, KafkaError._UNKNOWN_PARTITION):
                raise
            time.sleep(0.05)
    raise AssertionError(f"{topic} [{partition}] has no leader")


def end_offsets(kafka, topic):
    """{partition: the offset that the next record will get}."""
    reader = _reader(kafka)
    try:
        return {p: _watermarks(reader, topic, p)[1] for p in _partitions(reader, topic)}
    finally:
        reader.close()


def read_all(kafka, topic, start=None, committed=False, timeout=60.0):
    """Every record from the beginning (or from start, {partition: offset}) up to the ends as they are now: a list of Record,
    ordered by partition and offset. committed=True leaves out what belongs to open or aborted transactions."""
    reader = _reader(kafka, **{"isolation.level": "read_committed" if committed else "read_uncommitted"})
    try:
        open_partitions, assignment = set(), []
        for p in _partitions(reader, topic):
            low, high = _watermarks(reader, topic, p)
            first = max(low, (start or {}).get(p, low))
            if first < high:
                open_partitions.add(p)
                assignment.append(TopicPartition(topic, p, first))
        reader.assign(assignment)
        found, idle = [], 0.0
        while open_partitions:
            batch = reader.consume(1000, 0.1)
            idle = 0.0 if batch else idle + 0.1
            assert idle < timeout, f"{topic}: nothing read for {timeout:g} s, partitions {sorted(open_partitions)} not at their end"
            for message in batch:
                if message.error():
                    assert message.error().code() == KafkaError._PARTITION_EOF, f"{topic}: {message.error()}"
                    open_partitions.discard(message.partition())
                    continue
                found.append(
                    Record(message.topic(), message.partition(), message.offset(), message.timestamp()[1], message.key(),
                           message.value(), dict(message.headers() or []))
                )  # fmt: skip
        return sorted(found, key=lambda r: (r.partition, r.offset))
    finally:
        reader.close()


def latest_by_key(records):
    """{key: value} as a compacted topic would end: the last record of each key, tombstones taken out."""
    seen = {}
    for record in records:
        seen[record.key] = record.value
    return {key: value for key, value in seen.items() if value is not None}


# --- Java


def java_produce(kafka, topic, pairs, timeout=60.0):
    """Sends (key, value) texts with Kafka's own console producer, so with the Java client's default partitioner. Neither may
    hold a tab or a line end."""
    lines = "".join(f"{key}\t{value}\n" for key, value in pairs)
    done = subprocess.run(
        java("org.apache.kafka.tools.ConsoleProducer", "--bootstrap-server", _bootstrap(kafka), "--topic", topic, "--property",
             "parse.key=true", "--property", "key.separator=\t"),
        input=lines, text=True, capture_output=True, timeout=timeout,
    )  # fmt: skip
    assert done.returncode == 0 and "ERROR" not in done.stderr, f"the console producer failed:\n{done.stderr}"


def java_consume(kafka, topic, count, timeout=60.0):
    """[(partition, key, value)] as text of the first `count` records, read with Kafka's own console consumer."""
    done = subprocess.run(
        java("org.apache.kafka.tools.consumer.ConsoleConsumer", "--bootstrap-server", _bootstrap(kafka), "--topic", topic,
             "--from-beginning", "--max-messages", str(count), "--timeout-ms", "20000", "--property", "print.key=true", "--property",
             "print.partition=true"),
        text=True, capture_output=True, timeout=timeout,
    )  # fmt: skip
    assert done.returncode == 0, f"the console consumer failed:\n{done.stderr}"
    rows = [line.split("\t", 2) for line in done.stdout.splitlines()]
    return [(int(partition.removeprefix("Partition:")), key, value) for partition, key, value in rows]


# --- Avro


@lru_cache(maxsize=None)
def _schema_file(name):
    path = ROOT / "schemas" / (name if name.endswith(".avsc") else f"{name}.avsc")
    return fastavro.parse_schema(json.loads(path.read_text()))


def schema(name_or_schema):
    """A parsed schema: of schemas/NAME.avsc, or of a dict."""
    if isinstance(name_or_schema, str):
        return _schema_file(name_or_schema)
    return fastavro.parse_schema(name_or_schema)


def encode(name_or_schema, value):
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema(name_or_schema), value)
    return out.getvalue()


def decode(name_or_schema, raw):
    """The datum, which must be all of `raw`. Timestamps come as aware datetimes."""
    source = io.BytesIO(raw)
    value = fastavro.schemaless_reader(source, schema(name_or_schema), None)
    rest = source.read()
    assert not rest, f"{len(rest)} bytes left after the datum"
    return value


def confluent_frame(number, datum):
    return struct.pack(">bI", 0, number) + datum


def confluent_unframe(raw):
    """(schema id, datum)."""
    magic, number = struct.unpack(">bI", raw[:5])
    assert magic == 0, f"magic byte {magic}"
    return number, raw[5:]
