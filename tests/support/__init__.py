"""What the tests beside the C units share: servers to talk to, the program under test, topics, waiting.

    from support import Kafka, Redis, Installation, wait_until

Everything that is started here listens on a free port of 127.0.0.1, keeps its files in a temporary folder, is a context
manager, and is stopped by its process id. Run through build/venv/bin/python with tests/ on PYTHONPATH (tests/integration/run
does so).
"""

from .broker import Kafka
from .basics import ROOT, eventually, free_port, wait_until
from .program import Installation, Result, Rollcall, rollcall
from .redis import Redis, RedisError
from .registry import Registry
from .topics import (
    Record,
    confluent_frame,
    confluent_unframe,
    create_topic,
    decode,
    delete_topic,
    encode,
    end_offsets,
    java_consume,
    java_produce,
    latest_by_key,
    murmur2,
    partition_of,
    person_key,
    produce,
    read_all,
    schema,
    topic_partitions,
)

__all__ = [name for name in dir() if not name.startswith("_")]
