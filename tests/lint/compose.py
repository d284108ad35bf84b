"""docker-compose.yml and Dockerfile, checked without an engine: what the Compose specification and the engine would refuse,
and what they would accept although it cannot work (a dependency on the health of a service that has no check, an address
that nobody listens at, a library that the image lacks). Where `docker compose config` exists it is asked as well.

  compose.py [--self-test]     the closing line is `N passed, N failed`, counted in files (self-test: in cases)
"""

import copy
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]

TOP_KEYS = {"name", "services", "volumes", "networks", "configs", "secrets", "include"}
SERVICE_KEYS = {
    "build", "cap_add", "cap_drop", "command", "configs", "container_name", "depends_on", "deploy", "dns", "entrypoint", "env_file",
    "environment", "expose", "extra_hosts", "healthcheck", "hostname", "image", "init", "labels", "logging", "mem_limit", "networks",
    "platform", "ports", "profiles", "pull_policy", "read_only", "restart", "secrets", "security_opt", "shm_size", "stop_grace_period",
    "stop_signal", "sysctls", "tmpfs", "tty", "ulimits", "user", "volumes", "working_dir",
}  # fmt: skip
HEALTH_KEYS = {"test", "interval", "timeout", "retries", "start_period", "start_interval", "disable"}
CONDITIONS = {"service_started", "service_healthy", "service_completed_successfully"}
DURATION = re.compile(r"(\d+(\.\d+)?(us|ms|s|m|h))+")
NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]*")
IMAGE = re.compile(r"([a-z0-9]+([._/-][a-z0-9]+)*)(:[\w][\w.-]{0,127})?(@sha256:[0-9a-f]{64})?")
PORT = re.compile(r"(?:(?P<ip>\d+\.\d+\.\d+\.\d+):)?(?:(?P<published>\d+):)?(?P<target>\d+)(?:/(tcp|udp))?")
# pipeline.md §7; kafka.* passes through.
KEYS = {
    "TOPICS_PREFIX", "TOPICS_PARTITIONS", "TOPICS_REPLICATION", "GROUP_PREFIX", "STATE_DIR", "STATE_MEMORY_BYTES",
    "CHECKPOINT_INTERVAL", "REGISTRY_URL", "SINK_DEFAULT", "HTTP_LISTEN", "GROUP_INSTANCE", "MEMBERSHIPS_EXIT_RETENTION", "LOG_LEVEL",
    "DELIVERY", "CONFIG",
}  # fmt: skip
ROLES = {"ingest", "materialize", "sink", "run"}


class Loader(yaml.SafeLoader):
    """YAML as Compose reads it: a key that stands twice is an error."""

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                continue
            name = self.construct_object(key, deep=True)
            if name in seen:
                raise yaml.YAMLError(f"line {key.start_mark.line + 1}: the key {name} stands twice")
            seen.add(name)
        return super().construct_mapping(node, deep)


def check_compose(document):
    said = []
    say = said.append
    if not isinstance(document, dict) or not isinstance(document.get("services"), dict):
        return ["no services"]
    for key in document:
        if key not in TOP_KEYS and not str(key).startswith("x-"):
            say(f"unknown key {key}")
    services, volumes = document["services"], document.get("volumes") or {}
    published, mounted = {}, {}
    built = {s.get("image") for s in services.values() if isinstance(s, dict) and "build" in s}
    for name, service in services.items():
        def tell(text, name=name):
            say(f"services.{name}: {text}")

        if not NAME.fullmatch(name):
            tell("not a name")
        if not isinstance(service, dict):
            tell("not a mapping")
            continue
        for key in service:
            if key not in SERVICE_KEYS and not key.startswith("x-"):
                tell(f"unknown key {key}")
        check_image(service, built, tell)
        check_health(service.get("healthcheck"), tell)
        check_dependencies(service, services, tell)
        check_environment(name, service, services, tell)
        for port in service.get("ports", []):
            match = PORT.fullmatch(str(port)) if isinstance(port, str) else None
            if not match:
                tell(f"ports: {port!r} is not [[ADDRESS:]PUBLISHED:]TARGET in quotes")
                continue
            if any(int(p) not in range(1, 65536) for p in (match["target"], match["published"] or "1")):
                tell(f"ports: {port} is out of range")
            if match["published"] and published.setdefault(match["published"], name) != name:
                tell(f"ports: {match['published']} is published by {published[match['published']]} too")
        for volume in service.get("volumes", []):
            source, _, target = str(volume).partition(":")
            if not target.startswith("/"):
                tell(f"volumes: {volume}: the target is no absolute path")
            if not source.startswith((".", "/")):
                if source not in volumes:
                    tell(f"volumes: {source} is not declared")
                if mounted.setdefault(source, name) != name:
                    tell(f"volumes: {source} belongs to {mounted[source]} already, state is not shared")
        for key in ("stop_grace_period",):
            if key in service and not DURATION.fullmatch(str(service[key])):
                tell(f"{key}: {service[key]} is no duration")
        if service.get("restart", "no") not in ("no", "always", "unless-stopped", "on-failure"):
            tell(f"restart: {service['restart']}")
    for volume in volumes:
        if volume not in mounted:
            say(f"volumes.{volume}: no service uses it")
    say_cycles(services, say)
    return said


def check_image(service, built, tell):
    image = service.get("image")
    if not image and "build" not in service:
        tell("neither image nor build")
    if image:
        match = IMAGE.fullmatch(str(image))
        if not match:
            tell(f"image: {image} is no image name")
        elif image not in built and (not (match[3] or match[4]) or match[3] == ":latest"):
            tell(f"image: {image} has no version")
    build = service.get("build")
    if build is not None:
        context = build if isinstance(build, str) else build.get("context", ".")
        file = "Dockerfile" if isinstance(build, str) else build.get("dockerfile", "Dockerfile")
        if not (ROOT / context / file).is_file():
            tell(f"build: there is no {context}/{file}")


def check_health(health, tell):
    if health is None:
        return
    for key in health:
        if key not in HEALTH_KEYS:
            tell(f"healthcheck: unknown key {key}")
    test = health.get("test")
    if not (isinstance(test, str) and test) and not (isinstance(test, list) and len(test) > 1 and test[0] in ("CMD", "CMD-SHELL")):
        tell("healthcheck.test: a text, or a list that begins with CMD or CMD-SHELL")
    if isinstance(test, list) and not all(isinstance(word, str) for word in test):
        tell("healthcheck.test: every word must be text")
    for key in ("interval", "timeout", "start_period", "start_interval"):
        if key in health and not DURATION.fullmatch(str(health[key])):
            tell(f"healthcheck.{key}: {health[key]} is no duration")
    if not isinstance(health.get("retries", 1), int):
        tell("healthcheck.retries: not a number")


def dependencies(service):
    given = service.get("depends_on") or {}
    return {name: {"condition": "service_started"} for name in given} if isinstance(given, list) else given


def check_dependencies(service, services, tell):
    for name, how in dependencies(service).items():
        condition = (how or {}).get("condition")
        if name not in services:
            tell(f"depends_on: there is no service {name}")
        elif condition not in CONDITIONS:
            tell(f"depends_on.{name}: condition {condition}")
        elif condition == "service_healthy" and "healthcheck" not in services[name]:
            tell(f"depends_on.{name}: waits for its health, but it has no healthcheck")


def say_cycles(services, say):
    done = set()

    def visit(name, way):
        if name in way:
            say(f"depends_on: a cycle {' → '.join(way[way.index(name):] + [name])}")
            return
        if name in done or name not in services:
            return
        for other in dependencies(services[name]):
            visit(other, way + [name])
        done.add(name)

    for name in services:
        visit(name, [])


def listens(service):
    """The ports that a service of ours is known to listen at."""
    environment = service.get("environment") or {}
    ports = set(re.findall(r":(\d+)", str(environment.get("KAFKA_LISTENERS", ""))))
    ports |= {PORT.fullmatch(str(p))["target"] for p in service.get("ports", []) if PORT.fullmatch(str(p))}
    ports |= {str(p) for p in service.get("expose", [])}
    return ports


def check_environment(name, service, services, tell):
    environment = service.get("environment") or {}
    if isinstance(environment, list):
        environment = dict(str(row).partition("=")[::2] for row in environment)
    for key, value in environment.items():
        if isinstance(value, bool) or isinstance(value, (dict, list)) or value is None:
            tell(f"environment.{key}: {value!r} is not text or a number (quote it)")
        if key.startswith("ROLLCALL_") and key[9:] not in KEYS and not key.startswith("ROLLCALL_KAFKA_"):
            tell(f"environment.{key}: no configuration key is called so")
    if not any(key.startswith("ROLLCALL_") for key in environment):
        return
    command = service.get("command")
    if not (isinstance(command, list) and command and command[0] in ROLES):
        tell(f"command: {command} is none of {', '.join(sorted(ROLES))}")
    addresses = [environment.get("ROLLCALL_KAFKA_BOOTSTRAP_SERVERS")]
    store = re.fullmatch(r"redis://(?:[^@/]*@)?([^/]+)(/\d+)?", str(environment.get("ROLLCALL_SINK_DEFAULT", "")))
    addresses.append(store[1] if store else None)
    for address in addresses:
        if not address:
            tell("ROLLCALL_KAFKA_BOOTSTRAP_SERVERS and a redis:// ROLLCALL_SINK_DEFAULT are needed")
            continue
        host, _, port = address.partition(":")
        if host not in services:
            tell(f"{address}: there is no service {host}")
        elif port not in listens(services[host]):
            tell(f"{address}: {host} does not listen there")
        elif dependencies(service).get(host, {}).get("condition") != "service_healthy":
            tell(f"{address}: does not wait until {host} is healthy")
    state = environment.get("ROLLCALL_STATE_DIR")
    if state not in [str(v).partition(":")[2].split(":")[0] for v in service.get("volumes", [])]:
        tell(f"ROLLCALL_STATE_DIR: {state} is on no volume")
    listen = str(environment.get("ROLLCALL_HTTP_LISTEN", ""))
    probe = " ".join((service.get("healthcheck") or {}).get("test") or [])
    if not listen.startswith("0.0.0.0:") or f":{listen.rpartition(':')[2]}/readyz" not in probe:
        tell(f"healthcheck: does not ask /readyz where ROLLCALL_HTTP_LISTEN ({listen}) answers")


# --- Dockerfile

WORDS = set("FROM RUN CMD LABEL EXPOSE ENV ADD COPY ENTRYPOINT VOLUME USER WORKDIR ARG STOPSIGNAL HEALTHCHECK SHELL".split())


def instructions(text):
    joined = re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", text, flags=re.M))
    return [tuple(line.strip().split(None, 1)) for line in joined.splitlines() if line.strip()]


def packages(rows):
    found = set()
    for _, rest in rows:
        for part in re.split(r"&&|;", rest):
            match = re.search(r"apt-get install\s+(.*)", part)
            if match:
                found |= {word for word in match[1].split() if not word.startswith("-")}
    return found


def check_dockerfile(text, bootstrap, program=None):
    said, stages, names = [], [], []
    for row in instructions(text):
        if row[0] not in WORDS:
            said.append(f"unknown instruction {row[0]}")
            continue
        if row[0] == "FROM":
            match = re.fullmatch(r"(\S+)(?:\s+AS\s+([a-z][a-z0-9_-]*))?", row[1])
            if not match:
                said.append(f"FROM {row[1]}")
                continue
            if ":" not in match[1] or match[1].endswith(":latest"):
                said.append(f"FROM {match[1]} has no version")
            stages.append([])
            names.append(match[2])
        elif not stages:
            if row[0] != "ARG":
                said.append(f"{row[0]} before FROM")
        else:
            stages[-1].append(row)
            source = re.match(r"--from=(\S+)", row[1]) if row[0] == "COPY" else None
            if source and source[1] not in names[:-1]:
                said.append(f"COPY --from={source[1]}: there is no such stage before")
            elif row[0] == "COPY" and not source:
                for path in [w for w in row[1].split() if not w.startswith("--")][:-1]:
                    if not (ROOT / path).exists():
                        said.append(f"COPY {path}: it is not there")
    if len(stages) < 2:
        return said + ["one stage only: the image would hold the compilers"]
    last = dict(stages[-1])
    if last.get("USER", "root").split(":")[0] in ("root", "0"):
        said.append("the last stage runs as root")
    for word in ("HEALTHCHECK", "ENTRYPOINT"):
        if word not in last:
            said.append(f"no {word}")
    wanted = set(re.search(r"build_packages=\((.*?)\n\)", re.sub(r"#.*", "", bootstrap), flags=re.S)[1].split())
    for package in sorted(packages(stages[0]) - wanted):
        said.append(f"{package}: scripts/bootstrap does not install it")
    for package in sorted(p for p in wanted - packages(stages[0]) if p.startswith("lib")):
        said.append(f"{package}: scripts/bootstrap builds with it, the image does not install it")
    for package in sorted(p for p in packages(stages[-1]) if p.endswith("-dev")):
        said.append(f"{package}: not needed to run")
    if program and program.is_file():
        needed = set(re.findall(r"NEEDED\s+(\S+)", subprocess.run(["objdump", "-p", program], capture_output=True, text=True).stdout))
        base = {"libc6", "libgcc-s1", "libstdc++6"}
        for library in sorted(needed):
            owner = subprocess.run(["dpkg-query", "-S", f"*/{library}"], capture_output=True, text=True).stdout
            owners = {row.split(":")[0] for row in owner.splitlines()}
            if owners and not owners & (packages(stages[-1]) | base):
                said.append(f"the program needs {library} of {' or '.join(sorted(owners))}, the last stage does not install it")
    return said


# --- self-test: each rule finds what it is there for


def self_test(document, dockerfile, bootstrap):
    def set_at(path, value):
        def change(d):
            *way, last = path.split("/")
            for key in way:
                d = d[int(key)] if isinstance(d, list) else d[key]
            if value is None:
                del d[last]
            else:
                d[last] = value

        return change

    env = "services/sink/environment/"
    cases = [
        (set_at("sevices", {}), "unknown key sevices"),
        (set_at("services/sink/comand", []), "unknown key comand"),
        (set_at("services/sink/healthcheck/test", ["curl", "x"]), "begins with CMD"),
        (set_at("services/sink/healthcheck/interval", "5 seconds"), "no duration"),
        (set_at("services/sink/depends_on", {"kafak": {"condition": "service_healthy"}}), "no service kafak"),
        (set_at("services/kafka/healthcheck", None), "has no healthcheck"),
        (set_at("services/kafka/depends_on", ["sink"]), "a cycle"),
        (set_at("services/sink/ports", ["9464:9464"]), "published by"),
        (set_at("services/sink/ports", [9464]), "in quotes"),
        (set_at("services/sink/volumes", ["nowhere:/var/lib/rollcall"]), "not declared"),
        (set_at("services/sink/volumes", ["ingest-state:/var/lib/rollcall"]), "belongs to"),
        (set_at("volumes/unused", {}), "no service uses it"),
        (set_at("services/redis/image", "redis"), "has no version"),
        (set_at(env + "ROLLCALL_STATE_DRI", "/x"), "no configuration key"),
        (set_at(env + "ROLLCALL_STATE_DIR", "/x"), "on no volume"),
        (set_at(env + "ROLLCALL_KAFKA_BOOTSTRAP_SERVERS", "kafka:9999"), "does not listen"),
        (set_at(env + "ROLLCALL_SINK_DEFAULT", "redis://rediss:6379/0"), "no service rediss"),
        (set_at(env + "ROLLCALL_HTTP_LISTEN", "127.0.0.1:9464"), "does not ask /readyz"),
        (set_at("services/kafka/environment/KAFKA_AUTO_CREATE_TOPICS_ENABLE", False), "quote it"),
        (set_at("services/sink/command", ["sunk"]), "is none of"),
    ]
    failed = 0
    for change, wanted in cases:
        bad = copy.deepcopy(document)
        change(bad)
        said = check_compose(bad)
        if not any(wanted in text for text in said):
            failed += 1
            print(f"self-test: expected “{wanted}”, was said {said}")
    files = [
        (dockerfile.replace("USER rollcall\n", ""), "runs as root"),
        (dockerfile.replace("--from=build", "--from=biuld"), "no such stage"),
        (dockerfile.replace("debian:bookworm-slim", "debian"), "has no version"),
        (dockerfile.replace("librdkafka-dev", "librdkafak-dev"), "does not install it"),
        (dockerfile.replace("ENTRYPOINT", "ENTRYPOIN"), "unknown instruction"),
    ]
    for bad, wanted in files:
        said = check_dockerfile(bad, bootstrap)
        if not any(wanted in text for text in said):
            failed += 1
            print(f"self-test: expected “{wanted}”, was said {said}")
    total = len(cases) + len(files)
    print(f"{total - failed} passed, {failed} failed")
    return 1 if failed else 0


def main():
    dockerfile, bootstrap = (ROOT / "Dockerfile").read_text(), (ROOT / "scripts" / "bootstrap").read_text()
    try:
        document = yaml.load((ROOT / "docker-compose.yml").read_text(), Loader)
    except yaml.YAMLError as error:
        print(f"docker-compose.yml: {error}\n0 passed, 1 failed")
        return 1
    # Anchors are shared objects: each service gets its own, so that a case changes one only.
    document = {key: {n: copy.deepcopy(v) for n, v in value.items()} if isinstance(value, dict) else value for key, value in document.items()}
    if "--self-test" in sys.argv:
        return self_test(document, dockerfile, bootstrap)
    compose = check_compose(document)
    if shutil.which("docker") and subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0:
        done = subprocess.run(["docker", "compose", "config", "--quiet"], cwd=ROOT, capture_output=True, text=True)
        compose += [f"docker compose config: {line}" for line in done.stderr.splitlines()] if done.returncode else []
    image = check_dockerfile(dockerfile, bootstrap, ROOT / "build" / "rollcall")
    for text in compose:
        print(f"docker-compose.yml: {text}")
    for text in image:
        print(f"Dockerfile: {text}")
    failed = bool(compose) + bool(image)
    print(f"{2 - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
