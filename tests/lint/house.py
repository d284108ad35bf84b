"""The house's own rules, the ones that a compiler does not know. Prints file:line: what is wrong and what to do instead.

  house.py [--root DIR]     checks every file that git tracks (or would track); the closing line is `N passed, N failed`,
                            counted in files.
  house.py --self-test      shows that each rule finds what it is there for
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MAX_LINES = 1000  # of a C file: beyond this it is no longer one thing

# Which module may include whose headers: itself and what stands to its right (a module, or one header of it). cli/ and
# tests/ may use everything.
LAYERS = {
    "common/base": [],
    "common/codec": ["base"],
    "common/segment": ["base", "codec"],
    "common/store": ["base"],
    "common/kafka": ["base", "codec"],
    "producers": ["base", "codec", "segment", "kafka"],
    "consumers/shared": ["base", "codec", "segment", "store", "kafka"],
    # Re-keying is a thread of ingest: the one thing of the producers that a consumer runs.
    "consumers/ingest": ["base", "codec", "segment", "store", "kafka", "consumers/shared", "producers/rekey.h"],
    "consumers/materialize": ["base", "codec", "segment", "store", "kafka", "consumers/shared"],
    "consumers/sink": ["base", "codec", "segment", "store", "kafka", "consumers/shared"],
}
COMMON = {"base", "codec", "segment", "store", "kafka"}

# Whose door leads to a library: everybody else asks there.
DOORS = {
    "librdkafka/": ("common/kafka/", "bench/"),
    "rocksdb/": ("common/store/",),
    "hiredis": ("consumers/sink/", "cli/", "bench/"),
    "avro": ("common/codec/",),
    "curl/": ("common/codec/", "consumers/sink/", "cli/"),
    "microhttpd": ("common/base/",),
}

# name: (where it is allowed, why not elsewhere)
CALLS = {
    r"strcpy|strcat|sprintf|vsprintf|gets|stpcpy": ((), "knows no bound: use snprintf or struct rc_buf"),
    r"strtok|localtime|gmtime|asctime|ctime": ((), "keeps its answer in one place for all threads: use the _r form"),
    r"atoi|atol|atoll|atof": ((), "cannot say that the text is no number: use strtoll/strtod and look at the end"),
    r"alloca": ((), "the stack has no ceiling that it would tell of: use an arena"),
    r"system|popen": ((), "runs a shell: nothing here needs one"),
    r"rand|srand|random|drand48": ((), "is not repeatable by seed per user: use a generator with its own state"),
    r"exit|_exit|quick_exit": (("cli/", "tests/", "bench/", "common/base/signal.c"), "ends the process from within: return an error, cli/ decides"),
    r"rd_kafka_consume_batch|rd_kafka_consume_batch_queue": (("bench/",), "skips offsets around pause and seek in librdkafka 2.0.2: poll one by one"),
}
# The segment module decides from its inputs alone.
IMPURE = (
    r"time|clock_gettime|gettimeofday|timespec_get|fopen|fdopen|open|read|write|send|recv|socket|getenv|printf|fprintf|"
    r"puts|pthread_create|usleep|nanosleep"
)
# These may be called many times and asked once: a refused append is remembered in the buffer, what fills an error returns
# RC_FAIL always.
TELLS_LATER = r"rc_buf_(add|v?printf)|rc_profile_(field|value)_add|rc_error_(set|prefix)|rc_client_error|rc_def_(fail|unexpected|unknown_word)"
SLEEPS = r"sleep|usleep|nanosleep|clock_nanosleep"
WAITING = "tests/unit/wait.h"  # the only place of the unit tests that may sleep

UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")
SOMEBODYS_HOME = re.compile(r"(?<![\w.<$}])/(home|root|Users)/[a-z]")
TEXT = {".c", ".h", ".py", ".md", ".txt", ".yml", ".yaml", ".json", ".avsc", ".cmake", ".sh", ".xml", ""}


class Findings:
    def __init__(self):
        self.rows = []

    def add(self, path, line, text):
        self.rows.append((str(path), line, text))


def blank(source):
    """The C source with comments and the insides of literals blanked, line for line: what the compiler would run."""

    def space(match):
        text = match.group()
        if text[0] in "\"'":
            return text[0] + re.sub(r"[^\n]", " ", text[1:-1]) + text[-1]
        return re.sub(r"[^\n]", " ", text)

    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', space, source, flags=re.S)


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def check_text(path, text, found):
    for number, line in enumerate(text.split("\n"), 1):
        if line != line.rstrip() and path.suffix != ".md":
            found.add(path, number, "blanks at the end of the line")
        if "\t" in line and path.suffix in (".c", ".h", ".py", ".yml", ".yaml", ".json", ".avsc"):
            found.add(path, number, "a tab: indent with spaces")
        if UNFINISHED.search(line):
            found.add(path, number, "a mark of something unfinished: finish it, or make it an issue")
        if SOMEBODYS_HOME.search(line):
            found.add(path, number, "a path of somebody's machine")
    if text and not text.endswith("\n"):
        found.add(path, text.count("\n") + 1, "no line end at the end of the file")
    if text.endswith("\n\n"):
        found.add(path, text.count("\n"), "empty lines at the end of the file")


def check_c(root, path, text, found):
    name = path.as_posix()
    code = blank(text)
    lines = text.count("\n")
    if lines > MAX_LINES:
        found.add(path, lines, f"{lines} lines: is it still one thing? (at most {MAX_LINES})")
    # A source with a header of its own has its head there.
    if not text.startswith("/*") and not (path.suffix == ".c" and (root / path.with_suffix(".h")).exists()):
        found.add(path, 1, "no head: say in a comment what the file owns, what it must not know, which mistake it prevents")

    tested = name.startswith("tests/")
    for names, (allowed, why) in CALLS.items():
        if name.startswith(allowed):
            continue
        for match in re.finditer(rf"(?<![\w.>])({names})\s*\(", code):
            found.add(path, line_of(code, match.start()), f"{match[1]}() {why}")
    if name.startswith("common/segment/"):
        for match in re.finditer(rf"(?<![\w.>])({IMPURE})\s*\(", code):
            found.add(path, line_of(code, match.start()), f"{match[1]}() in common/segment, which has no I/O and no clock")
    if name.startswith("tests/unit/") and name != WAITING:
        for match in re.finditer(rf"(?<![\w.>])({SLEEPS})\s*\(", code):
            found.add(path, line_of(code, match.start()), f"{match[1]}() in a unit test: pass the time in; for another thread or process there is {WAITING}")

    for match in re.finditer(r'^[ \t]*#[ \t]*include[ \t]*[<"]([^>"\n]+)[>"]', text, flags=re.M):
        check_include(path, name, match[1], line_of(text, match.start()), tested, found)

    if path.suffix == ".h":
        check_header(path, name, text, code, found)


def check_include(path, name, included, line, tested, found):
    if tested:
        return
    for library, doors in DOORS.items():
        if included.startswith(library) and not included.startswith(("avro/../",)) and not name.startswith(doors):
            found.add(path, line, f"<{included}>: only {' and '.join(doors)} may know this library")
    module = next((m for m in LAYERS if name.startswith(m + "/")), None)
    if not module:
        return
    own = module.removeprefix("common/")
    target, folder = included.split("/")[0], included.rsplit("/", 1)[0]
    if target in COMMON:
        if target != own and target not in LAYERS[module]:
            found.add(path, line, f'"{included}": {module} may not use {target} (CONTRIBUTING.md, layout)')
    elif target in ("producers", "consumers", "cli"):
        if folder != module and folder not in LAYERS[module] and included not in LAYERS[module]:
            found.add(path, line, f'"{included}": {module} may not use {folder}; share through common/, consumers/shared or cli/')


def check_header(path, name, text, code, found):
    parts = list(path.with_suffix("").parts)
    parts = parts[1:] if parts[0] in ("common", "consumers") else parts
    guard = "RC_" + "_".join(parts).upper().replace("-", "_").replace(".", "_") + "_H"
    match = re.search(r"^#ifndef (\w+)\n#define (\w+)\n", text, flags=re.M)
    if not match:
        found.add(path, 1, f"no include guard {guard}")
    elif not match[1] == match[2] == guard:
        found.add(path, line_of(text, match.start()), f"the include guard {match[1]} should be {guard}")
    if name.startswith("tests/"):
        return
    # A prototype: at the beginning of a line, ends with ";" before any "{".
    for match in re.finditer(r"^(?!typedef|static|#|extern \"|struct \w+ \{|enum|union|\}|_Static_assert)([a-z][\w \t*]*?[ *])(\w+)\(([^;{}]*?)\)([^;{}()]*(?:\([^;{}]*\))*[^;{}]*);", code, flags=re.M):
        returns, function, after = match[1], match[2], match[4]
        line = line_of(code, match.start(2))
        if "(" in returns or function in ("__attribute__",):
            continue
        if not function.startswith("rc_"):
            found.add(path, line, f"{function}(): public names begin with rc_")
        if re.match(r"(extern )?rc_status\b", returns) and "RC_MUST_USE" not in after and not re.match(TELLS_LATER, function):
            found.add(path, line, f"{function}() can fail: mark it RC_MUST_USE")


def check_json(path, text, found):
    try:
        json.loads(text)
    except ValueError as error:
        found.add(path, getattr(error, "lineno", 1), f"not JSON: {error}")


def check_links(root, path, text, found):
    without_code = re.sub(r"^(```|~~~).*?^\1", lambda m: re.sub(r"[^\n]", " ", m[0]), text, flags=re.S | re.M)
    for match in re.finditer(r"(?<!`)\[[^\]\n]*\]\(([^)\s]+)\)", without_code):
        target = match[1].split("#")[0]
        if not target or re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue
        if not (root / path.parent / target).exists():
            found.add(path, line_of(without_code, match.start()), f"a link to {target}, which is not there")


def tracked(root):
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=root, capture_output=True, check=True)
    for name in sorted(set(listed.stdout.decode().split("\0")) - {""}):
        path = Path(name)
        if (root / path).is_file() and not name.startswith("tests/conformance/cases/"):
            yield path


def check_file(root, path, found):
    raw = (root / path).read_bytes()
    if path.suffix not in TEXT or b"\0" in raw[:8000]:
        return
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        # Bad bytes are what a fixture may be about.
        if not path.as_posix().startswith("tests/"):
            found.add(path, 1, f"not UTF-8: {error}")
        return
    fixture = any(part in ("fixtures", "corpus", "golden", "data") for part in path.parts)
    if not fixture and path.name != "LICENSE":
        check_text(path, text, found)
    if path.suffix in (".c", ".h"):
        check_c(root, path, text, found)
    elif path.suffix in (".json", ".avsc") and not fixture:
        check_json(path, text, found)
    elif path.suffix == ".md":
        check_links(root, path, text, found)


def check(root):
    found, files = Findings(), list(tracked(root))
    for path in files:
        check_file(root, path, found)
    return files, found.rows


BAD = {  # file: (what it holds, what must be said of it)
    "common/base/a.c": ("/* head */\nvoid f(char *s) {\n    strcpy(s, s);\n}\n", "knows no bound"),
    "common/base/b.c": ("/* head */\nvoid f(void) {\n    exit(1);\n}\n", "ends the process"),
    "common/base/c.c": ("int x;\n", "no head"),
    "common/base/d.c": ('/* head */\n#include "codec/x.h"\n', "may not use codec"),
    "common/base/e.c": ("/* head */\nint x; \n", "blanks at the end"),
    "common/base/f.c": ("/* head */\nint x;", "no line end"),
    "common/base/g.c": ("/* head */\n" + "int x;\n" * MAX_LINES, "still one thing"),
    "common/base/h.c": ("/* TO" "DO later */\n", "unfinished"),
    "common/base/i.h": ("/* head */\n#ifndef WRONG_H\n#define WRONG_H\n#endif\n", "RC_BASE_I_H"),
    "common/base/j.h": ("/* head */\n#ifndef RC_BASE_J_H\n#define RC_BASE_J_H\nint foo(int a);\n#endif\n", "begin with rc_"),
    "common/base/k.h": ("/* head */\n#ifndef RC_BASE_K_H\n#define RC_BASE_K_H\nrc_status rc_foo(int a,\n                 int b);\n#endif\n", "RC_MUST_USE"),
    "common/segment/l.c": ("/* head */\nlong f(void) {\n    return time(0);\n}\n", "no I/O and no clock"),
    "consumers/sink/m.c": ("/* head */\n#include <librdkafka/rdkafka.h>\n", "only common/kafka/"),
    "consumers/sink/n.c": ('/* head */\n#include "consumers/ingest/x.h"\n', "may not use consumers/ingest"),
    "consumers/ingest/s.c": ('/* head */\n#include "producers/produce.h"\n', "may not use producers"),
    "consumers/shared/t.c": ('/* head */\n#include "consumers/sink/x.h"\n', "may not use consumers/sink"),
    "consumers/sink/u.c": ('/* head */\n#include "producers/rekey.h"\n', "may not use producers"),
    "common/kafka/v.c": ('/* head */\n#include "consumers/shared/x.h"\n', "may not use consumers/shared"),
    "tests/unit/base/w.c": ("/* head */\nint f(void) {\n    return system(0);\n}\n", "runs a shell"),
    "tests/unit/base/o.c": ("/* head */\nvoid f(void) {\n    usleep(1);\n}\n", "pass the time in"),
    "docs/p.md": ("[x](nowhere.md)\n", "not there"),
    "schemas/q.avsc": ("{,}\n", "not JSON"),
    "common/base/r.c": ('/* head */\nconst char *x = "/ho' 'me/me";\n', "somebody's machine"),
}
GOOD = {
    "common/base/a.c": '/* strcpy(x) in a comment */\n#include "base/a.h"\nconst char *x = "exit(1)"; /* atoi(x) */\nvoid f(struct g *g) {\n    g->exit(1);\n    rc_exit(2);\n}\n',
    "common/base/a.h": "/* head */\n#ifndef RC_BASE_A_H\n#define RC_BASE_A_H\nrc_status rc_foo(int a, void (*done)(int), struct rc_span b) RC_MUST_USE;\nstatic inline int helper(int x) {\n    return x;\n}\n#endif\n",
    "consumers/sink/b.c": '/* head */\n#include "consumers/sink/b.h"\n#include "kafka/source.h"\n',
    "consumers/sink/b.h": "/* head */\n#ifndef RC_SINK_B_H\n#define RC_SINK_B_H\n#endif\n",
    "consumers/ingest/d.c": '/* head */\n#include "consumers/shared/x.h"\n#include "producers/rekey.h"\n',
    "tests/unit/wait.h": "/* head */\n#ifndef RC_TESTS_UNIT_WAIT_H\n#define RC_TESTS_UNIT_WAIT_H\nstatic inline int f(void) {\n    return usleep(1);\n}\n#endif\n",
    "cli/main.c": "/* head */\nint main(void) {\n    exit(0);\n}\n",
    "docs/c.md": "[x](../common/base/a.c#l1) [y](https://example.org/)\n",
}


def self_test():
    failed = 0
    for expected_bad, files in ((True, BAD), (False, GOOD)):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            subprocess.run(["git", "init", "-q"], cwd=root, check=True)
            for name, given in files.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(given[0] if expected_bad else given)
            rows = check(root)[1]
            for name, given in files.items():
                said = [text for path, _, text in rows if path == name]
                right = any(given[1] in text for text in said) and len(said) == 1 if expected_bad else not said
                if not right:
                    failed += 1
                    print(f"self-test: of {name} was said {said or 'nothing'}, expected {given[1] if expected_bad else 'nothing'}")
    total = len(BAD) + len(GOOD)
    print(f"{total - failed} passed, {failed} failed")
    return 1 if failed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=ROOT)
    parser.add_argument("--self-test", action="store_true")
    given = parser.parse_args()
    if given.self_test:
        return self_test()
    files, rows = check(given.root)
    for path, line, text in rows:
        print(f"{path}:{line}: {text}")
    bad = len({path for path, _, _ in rows})
    print(f"{len(files) - bad} passed, {bad} failed")
    return 1 if rows or not files else 0


if __name__ == "__main__":
    sys.exit(main())
