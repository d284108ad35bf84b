"""The commands by themselves: usage, help, configuration, and what they say when nothing is there to talk to."""

import json
import os
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

from support import ROOT, rollcall
from support.program import BINARY, environment

COMMANDS = [
    "run", "ingest", "materialize", "sink", "produce", "apply", "get", "describe", "delete", "status", "members", "profile", "tail",
    "deadletters", "eval", "explain", "is", "export", "config", "completion", "version", "help",
]  # fmt: skip
NOWHERE = {"kafka.bootstrap.servers": "127.0.0.1:1"}


class HelpTest(unittest.TestCase):
    def test_every_command_explains_itself(self):
        overview = rollcall("help").out
        for command in COMMANDS:
            with self.subTest(command):
                self.assertIn(f"\n  {command} ", overview)
                text = rollcall(command, "--help").out
                self.assertIn(f"Usage: rollcall {command}", text)
                self.assertIn("Options:", text)
                self.assertIn("--help", text)
                if command != "config":  # `help config` explains the keys
                    self.assertEqual(rollcall("help", command).out, text)

    def test_commands_that_print_data_have_json(self):
        for command in ["produce", "apply", "get", "describe", "delete", "status", "members", "profile", "tail", "deadletters", "explain", "is", "export", "config", "version"]:
            self.assertIn("--json", rollcall(command, "--help").out, command)

    def test_usage_errors(self):
        for args, text in [
            ([], "no command"),
            (["stauts"], "did you mean status?"),
            (["frobnicate"], "unknown command"),
            (["apply"], "-f"),
            (["apply", "--dryrun"], "did you mean --dry-run?"),
            (["apply", "--file"], "--file wants PATH"),
            (["get", "segmnet"], "did you mean segment?"),
            (["get", "segment", "x", "y"], "one argument too many"),
            (["members"], "wants AUDIENCE"),
            (["tail", "--status", "gone"], "expected realized or exited"),
            (["tail", "--person", "nobody"], "expected namespace:id"),
            (["tail", "--max", "-3"], "--max"),
            (["tail", "--cause", "magic"], "expected event, time"),
            (["explain", "buyers"], "wants SEGMENT"),
            (["explain", "buyers", "nobody"], "expected namespace:id"),
            (["export", "--format", "xml"], "expected jsonl, csv or avro"),
            (["profile", "nobody"], "expected namespace:id"),
            (["produce", "--shift", "now"], "--dataset"),
            (["produce", "--dataset", "x", "--rate", "0"], "--rate"),
            (["produce", "--dataset", "x", "--pace", "2"], "--pace"),
            (["produce", "--dataset", "x", "--shift", "yesterday"], "expected now"),
            (["produce", "--dataset", "x", "--time-zone", "Europe/Stokholm"], "--time-zone"),
            (["completion", "zsh"], "bash"),
            (["version", "--json=yes"], "takes no value"),
        ]:
            with self.subTest(" ".join(args)):
                result = rollcall(*args, code=64)
                self.assertEqual(result.out, "")
                self.assertTrue(result.err.startswith("rollcall: "), result.err)
                self.assertEqual(result.err.count("\n"), 1, result.err)
                self.assertIn(text, result.err)

    def test_version(self):
        self.assertRegex(rollcall("version").out, r"^rollcall \d+\.\d+\.\d+\nlibrdkafka ")
        self.assertEqual(rollcall("version", "--json").json["program"], "rollcall")
        self.assertEqual(rollcall("--version").out, rollcall("version").out)


class CompletionTest(unittest.TestCase):
    def complete(self, *words):
        script = rollcall("completion", "bash").out
        ask = f'{script}\nCOMP_WORDS=({" ".join(words)} "$1"); COMP_CWORD={len(words)}; _rollcall; printf "%s\\n" "${{COMPREPLY[@]}}"'
        return lambda word: subprocess.run(["bash", "-c", ask, "bash", word], text=True, capture_output=True, check=True).stdout.split()

    def test_words(self):
        self.assertEqual(self.complete("rollcall")("mat"), ["materialize"])
        self.assertEqual(self.complete("rollcall", "tail")("--from"), ["--from-beginning"])
        self.assertEqual(self.complete("rollcall", "get")("aud"), ["audience"])
        self.assertEqual(self.complete("rollcall", "run", "--set")("topics.pa"), ["topics.partitions="])
        self.assertIn("--json", self.complete("rollcall", "status")("--"))


class ConfigurationTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="rollcall-test-config-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def write(self, text):
        path = self.folder / "rollcall.conf"
        path.write_text(text)
        return path

    def test_it_parses_back_to_itself(self):
        path = self.write('topics.prefix = x.y\nstate.dir = "/a b#c"\nkafka.linger.ms = 7\nkafka.client.rack = "r # 1"\n')
        first = rollcall("config", "--config", path, settings={"log.level": "warn"}).out
        again = self.folder / "again.conf"
        again.write_text(first)
        self.assertEqual(rollcall("config", "--config", again).out, first)
        self.assertIn("log.level = warn\n", first)
        self.assertIn("kafka.linger.ms = 7\n", first)

    def test_order_of_sources(self):
        path = self.write("topics.prefix = file\ngroup.prefix = file\nregistry.url = file\n")
        env = {"ROLLCALL_CONFIG": str(path), "ROLLCALL_GROUP_PREFIX": "variable", "ROLLCALL_REGISTRY_URL": "variable",
               "ROLLCALL_KAFKA_SOCKET_TIMEOUT_MS": "1234"}  # fmt: skip
        rows = {row["key"]: row for row in rollcall("config", "--json", settings={"registry.url": "set"}, env=env).rows}
        self.assertEqual([rows[key]["value"] for key in ("topics.prefix", "group.prefix", "registry.url")], ["file", "variable", "set"])
        self.assertEqual(rows["kafka.socket.timeout.ms"]["value"], "1234")
        self.assertEqual(rows["topics.prefix"]["from"], f"{path}:1")
        self.assertEqual(rows["checkpoint.interval"]["value"], 1000)

    def test_errors_name_the_place(self):
        path = self.write("# first\nlog.level = info\ncheckpoint.intreval = 1s\n")
        for args, env, text in [
            (["--config", path], {}, f'{path}:3: unknown key "checkpoint.intreval"; did you mean checkpoint.interval?'),
            ([], {"ROLLCALL_STATE_DRI": "x"}, "ROLLCALL_STATE_DRI"),
            (["--set", "log.level=loud"], {}, "debug|info|warn|error|off"),
            (["--set", "kafka.lingr.ms=1"], {}, "kafka.lingr.ms"),
            (["--set", "kafka.linger.ms=soon"], {}, "kafka.linger.ms"),
            (["--set", "delivery=at_most_once"], {}, "at_least_once|exactly_once"),
            (["--config", self.folder / "none"], {}, "No such file"),
        ]:
            with self.subTest(text):
                result = rollcall("config", *args, env=env, code=78)
                self.assertIn(text, result.err)
                self.assertEqual(result.err.count("\n"), 1)
        # Every command that has a configuration checks it first.
        self.assertIn("log.level", rollcall("ingest", "--set", "log.level=loud", code=78).err)

    def test_secrets_are_not_shown(self):
        settings = {"kafka.sasl.password": "hunter2"}
        self.assertNotIn("hunter2", rollcall("config", settings=settings).out)
        self.assertNotIn("hunter2", rollcall("config", "--json", settings=settings).out)
        self.assertIn("hunter2", rollcall("config", "--secrets", settings=settings).out)

    def test_documentation_is_current(self):
        self.assertEqual(rollcall("help", "config", "--markdown").out, (ROOT / "docs" / "configuration.md").read_text())


class NobodyThereTest(unittest.TestCase):
    """No broker, no store: exit 69 soon, with what has to be mended."""

    def test_no_broker(self):
        with tempfile.TemporaryDirectory(prefix="rollcall-test-") as folder:
            definition = Path(folder) / "d.json"
            definition.write_text(json.dumps({"kind": "destination", "id": "profiles", "type": "redis", "url": "redis://127.0.0.1:6379/0"}))
            settings = {**NOWHERE, "state.dir": f"{folder}/state"}
            for args in [["get"], ["status"], ["members", "x"], ["tail"], ["apply", "-f", definition], ["describe", "segment", "x"],
                         ["delete", "segment", "x"], ["produce", "--dataset", "x"]]:  # fmt: skip
                with self.subTest(args[0]):
                    began = time.monotonic()
                    result = rollcall(*args, settings=settings, code=69)
                    self.assertLess(time.monotonic() - began, 12)
                    self.assertIn("kafka.bootstrap.servers", result.err)
                    self.assertIn("127.0.0.1:1", result.err)
                    self.assertEqual(result.err.count("\n"), 1, result.err)

    def test_wrong_files_need_no_broker(self):
        with tempfile.TemporaryDirectory(prefix="rollcall-test-") as folder:
            broken = Path(folder) / "broken.json"
            broken.write_text('[{"kind": "segment", "id": "a",\n "where": }]')
            for path, text in [(broken, "broken.json"), (Path(folder) / "none.json", "none.json")]:
                began = time.monotonic()
                self.assertIn(text, rollcall("apply", "-f", path, settings=NOWHERE, code=65).err)
                self.assertLess(time.monotonic() - began, 3)
            (Path(folder) / "empty").mkdir()
            self.assertIn("no *.json", rollcall("apply", "-f", Path(folder) / "empty", settings=NOWHERE, code=65).err)

    def test_no_store(self):
        result = rollcall("profile", "shop:1", "--store", "redis://127.0.0.1:1/0", code=69)
        self.assertIn("127.0.0.1:1", result.err)
        self.assertIn("sink.default", result.err)


class StateFolderTest(unittest.TestCase):
    def test_one_process_of_a_kind(self):
        with tempfile.TemporaryDirectory(prefix="rollcall-test-") as folder:
            args = [str(BINARY), "ingest", "--set", f"state.dir={folder}/deep/state", "--set", "kafka.bootstrap.servers=127.0.0.1:1"]
            first = subprocess.Popen(args, env=environment(), stderr=subprocess.DEVNULL)
            try:
                lock = Path(folder) / "deep" / "state" / "ingest.lock"
                deadline = time.monotonic() + 20
                while not (lock.exists() and lock.read_text() == f"{first.pid}\n"):
                    self.assertLess(time.monotonic(), deadline)
                    time.sleep(0.02)
                result = rollcall("ingest", settings={**NOWHERE, "state.dir": f"{folder}/deep/state"}, code=75)
                self.assertIn(f"in use by process {first.pid}", result.err)
                self.assertIn("state.dir", result.err)
            finally:
                first.kill()
                first.wait()

    def test_a_folder_that_cannot_be_made(self):
        with tempfile.NamedTemporaryFile() as file:
            result = rollcall("ingest", settings={**NOWHERE, "state.dir": f"{file.name}/state"}, code=78)
            self.assertIn("state.dir", result.err)

    def test_a_port_that_is_taken(self):
        import socket

        with tempfile.TemporaryDirectory(prefix="rollcall-test-") as folder, socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            address = f"127.0.0.1:{other.getsockname()[1]}"
            result = rollcall("ingest", settings={**NOWHERE, "state.dir": folder, "http.listen": address}, code=69)
            self.assertIn(address, result.err)

    def test_sigterm_while_the_broker_is_away(self):
        with tempfile.TemporaryDirectory(prefix="rollcall-test-") as folder:
            args = [str(BINARY), "run", "--set", f"state.dir={folder}", "--set", "kafka.bootstrap.servers=127.0.0.1:1",
                    "--set", "http.listen=127.0.0.1:0"]  # fmt: skip
            process = subprocess.Popen(args, env=environment(), stderr=subprocess.PIPE, text=True)
            try:
                for line in process.stderr:
                    if 'msg=started' in line:
                        break
                time.sleep(0.5)
                began = time.monotonic()
                process.terminate()
                _, rest = process.communicate(timeout=20)
                self.assertEqual(process.returncode, 0, rest)
                self.assertLess(time.monotonic() - began, 10)
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    unittest.main()
