/* Every configuration property, one row each. What it means to the program is said here and nowhere else: messages, `rollcall help config`
 * and docs/configuration.md are printed from this table. After a change: `rollcall help config --markdown > docs/configuration.md`.
 *
 * X(name, type, default, min, max, words, live, help)
 *   min, max: of INT, DURATION (ms) and BYTES; words: of WORD; live: taken up on SIGHUP, not only at the next start. */
#ifndef RC_BASE_CONFIG_TABLE_H
#define RC_BASE_CONFIG_TABLE_H

#define RC_CONFIG_MS_S INT64_C(1000)
#define RC_CONFIG_MS_H INT64_C(3600000)
#define RC_CONFIG_MS_D INT64_C(86400000)
#define RC_CONFIG_MIB (INT64_C(1) << 20)
#define RC_CONFIG_TIB (INT64_C(1) << 40)
#define RC_CONFIG_NO_CAP INT64_MAX

/* clang-format off */
#define RC_CONFIG_TABLE(X) \
    X("kafka.bootstrap.servers", RC_CONFIG_TEXT, "localhost:9092", 0, 0, NULL, false, \
      "Brokers to find the cluster by: host:port, several with commas. Any other kafka.<property> is handed to librdkafka as it is.") \
    X("topics.prefix", RC_CONFIG_TEXT, "rollcall", 0, 0, NULL, false, \
      "First part of the names of Rollcall's own topics and of the keys in the profile store. Installations and sandboxes with " \
      "different prefixes share a cluster.") \
    X("topics.partitions", RC_CONFIG_INT, "0", 0, 10000, NULL, false, \
      "Partitions of topics that are created. 0: as many as the dataset topics have, 4 where none exists yet. Cannot change later.") \
    X("topics.replication", RC_CONFIG_INT, "-1", -1, 32767, NULL, false, \
      "Replication factor of topics that are created. -1: the broker's default.") \
    X("group.prefix", RC_CONFIG_TEXT, "rollcall", 0, 0, NULL, false, \
      "First part of the names of the consumer groups.") \
    X("group.instance", RC_CONFIG_TEXT, "", 0, 0, NULL, false, \
      "Name of this process in its consumer groups and in rollcall.processes; unique in an installation. Empty: an id that is made once " \
      "and kept in state.dir.") \
    X("group.leave", RC_CONFIG_BOOL, "false", 0, 0, NULL, true, \
      "Whether a process that stops leaves its consumer groups for good, so that others take its partitions over at once (scaling down). " \
      "false: its place is kept until the session times out (kafka.session.timeout.ms, 10 s), so a restart moves no partitions.") \
    X("state.dir", RC_CONFIG_TEXT, "", 0, 0, NULL, false, \
      "Folder for local state. It is a cache of what Kafka holds, and the place where commands find a running `run --embedded`. Empty: " \
      "$XDG_STATE_HOME/rollcall, else ~/.local/state/rollcall. One process of a kind to a folder.") \
    X("state.memory_bytes", RC_CONFIG_BYTES, "512MiB", 16 * RC_CONFIG_MIB, 64 * RC_CONFIG_TIB, NULL, false, \
      "Budget for state and queues in memory.") \
    X("state.person_events", RC_CONFIG_INT, "100000", 1, 1000000000, NULL, false, \
      "Most events of one person that some segment still needs. Past it the person is quarantined: memberships stand still, events are not " \
      "kept, until `rollcall release`.") \
    X("checkpoint.interval", RC_CONFIG_DURATION, "1s", 10, RC_CONFIG_MS_H, NULL, false, \
      "How often state is saved and offsets are committed; a crash repeats at most this much (in a long backlog, while " \
      "many persons are due at once, or while history is read, five times as much, less if memory is short). With delivery = exactly_once nothing is seen before that, so there it is 100 ms unless it is set; below 5 s in any case, because transactions end after 10 s.") \
    X("delivery", RC_CONFIG_WORD, "at_least_once", 0, 0, "at_least_once|exactly_once", false, \
      "Guarantee for changes. at_least_once: a change may come again, with the version that it had. exactly_once: changes are written in Kafka " \
      "transactions, and a reader with isolation.level=read_committed sees each once, at the cost of latency (checkpoint.interval).") \
    X("payload.framing", RC_CONFIG_WORD, "plain", 0, 0, "plain|confluent", false, \
      "Framing of the Avro records that Rollcall writes: the datum alone, or Confluent's magic byte and schema id (needs registry.url).") \
    X("registry.url", RC_CONFIG_TEXT, "", 0, 0, NULL, false, \
      "Schema registry for payloads with framing confluent: http(s)://host:port. Empty: none.") \
    X("sink.default", RC_CONFIG_TEXT, "redis://127.0.0.1:6379/0", 0, 0, NULL, false, \
      "Profile store of audiences without `destinations`: redis://[:password@]host:port/db or embedded:DIR. It stands for a destination " \
      "`profiles`; a definition of that name wins. `run --embedded`: embedded:<state.dir>/profiles.") \
    X("memberships.exit_retention", RC_CONFIG_DURATION, "30d", RC_CONFIG_MS_S, 36500 * RC_CONFIG_MS_D, NULL, false, \
      "How long an exit stays in the compacted topics before a tombstone removes it.") \
    X("http.listen", RC_CONFIG_TEXT, "127.0.0.1:0", 0, 0, NULL, false, \
      "host:port of /metrics, /healthz, /readyz and /status. Port 0: any free one, told in rollcall.processes. An empty host: every " \
      "address. `run`: 127.0.0.1:9464.") \
    X("log.level", RC_CONFIG_WORD, "info", 0, 0, "debug|info|warn|error|off", true, \
      "Least level of the log lines that are written.")
/* clang-format on */

#endif
