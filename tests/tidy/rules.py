"""The rules of the house. A rule looks at one Source, or at the whole Tree, and yields
(path, line, text); line 0 means the file as a whole. Its name is the function's name."""

import re

import graph
from source import inside

COLUMNS_MAX = 100
LINES_MAX = 600

# Tests of these folders drive real processes, networks and disks, so they live in real time.
_REAL_TIME = ["server/base/", "tests/base/", "tests/bench/", "tests/conformance/", "tests/e2e/",
              "tests/fuzz/", "tests/integration/", "cmd/etcdd-bench/"]
_OUTSIDE = ["cmd/", "tests/"]
# Not a method (x.open, x->open, X::open), not a part of a longer word.
_FREE = r"(?<![\w.>:])(?:std::|::)?"

# (pattern, places where it is allowed, what to use instead)
BANNED = [
    (r"\bsleep_for\b|\bsleep_until\b|\bSleepFor\s*\(|" + _FREE + r"(?:usleep|nanosleep|sleep)\s*\(",
     [], "post a timer on a Strand, or wait for the event; tests advance FakeClock"),
    (_FREE + r"s?rand\s*\(|\brandom_device\b", [], "base::Random"),
    (r"\bmt19937(?:_64)?\b|\bdefault_random_engine\b", _OUTSIDE, "base::Random"),
    (_FREE + r"time\s*\(\s*(?:NULL|nullptr|0|&\w+)\s*\)|" + _FREE +
     r"(?:gettimeofday|clock_gettime)\s*\(|\b(?:system|steady|high_resolution)_clock\b|"
     r"\babsl::Now\s*\(|\bGetCurrentTimeNanos\b", _REAL_TIME, "base::Clock"),
    (r"(?<![\w])assert\s*\(", [], "ETCDD_CHECK, which stays on in release builds"),
    (r"\bstd::(?:cout|cerr|clog)\b|" + _FREE + r"(?:printf|fprintf|puts|fputs)\s*\(", _OUTSIDE,
     "ETCDD_LOG"),
    (r"\busing\s+namespace\b", [], "names with their namespace, or an alias in a .cc file"),
    (_FREE + r"(?:abort|terminate)\s*\(", ["server/base/check.cc"], "ETCDD_CHECK"),
    (_FREE + r"(?:exit|_exit|quick_exit)\s*\(", _OUTSIDE + ["server/daemon*"],
     "a Status; only the daemon and cmd/ end the process"),
    (_FREE + r"(?:fopen|open|openat|creat|opendir)\s*\(", ["server/base/", "cmd/", "tests/"],
     "base::FileSystem"),
    (r"\bstd::(?:if|of|f)stream\b|\bstd::filesystem\b",
     ["server/base/posix_file_system.cc"] + _OUTSIDE, "base::FileSystem"),
    (r"\bstd::(?:recursive_|shared_|timed_)?mutex\b|\bstd::condition_variable", _OUTSIDE,
     "absl::Mutex with ABSL_GUARDED_BY"),
    (r"\bthrow\b", [], "absl::Status"),
    (r"\bDISABLED_\w|\bGTEST_SKIP\b", [], "a test that runs, or none"),
]
_BANNED = [(re.compile(pattern), places, instead) for pattern, places, instead in BANNED]
_NOTE = re.compile(r"\b(?:TODO|FIXME|XXX|HACK)\b")
_MACHINE_PATH = re.compile(r"(?<![\w.])/wor[k]/")
_CMAKE_SOURCE = re.compile(r"[\w./${}-]+\.cc\b")


def include_direction(source):
    if not source.is_cpp:
        return
    for line, _, target in source.includes():
        if graph.is_ours(target) and not graph.own_include_allowed(source.path, target):
            yield source.path, line, f"{target}: not below this folder in tests/tidy/graph.py"
        advice = graph.third_party_advice(source.path, target)
        if advice is not None:
            yield source.path, line, f"{target}: {advice}"


def raft_is_pure(source):
    if not source.is_cpp or not source.path.startswith("raft/"):
        return
    for line, _, target in source.includes():
        if graph.is_impure(target):
            yield source.path, line, f"{target}: raft has no thread, lock, clock, file or socket"


def include_from_root(source):
    if not source.is_cpp:
        return
    for line, kind, target in source.includes():
        if kind == '"' and "/" not in target:
            yield source.path, line, f"{target}: include from the root of the tree"
        if kind == "<" and (graph.is_ours(target) or target.startswith("absl/")):
            yield source.path, line, f"{target}: in quotes, not angle brackets"


def own_header_first(source, tree):
    if not source.path.endswith(".cc"):
        return
    includes = list(source.includes())
    own = source.path[:-3] + ".h"
    if own in tree.paths and includes and includes[0][2] != own:
        yield source.path, includes[0][0], f"{own} comes first, so that it is seen to stand alone"


def include_exists(source, tree):
    if not source.is_cpp:
        return
    for line, _, target in source.includes():
        generated = target.endswith(".pb.h")
        if graph.is_ours(target) and not generated and target not in tree.paths:
            yield source.path, line, f"{target}: no such file"


def pragma_once(source):
    if source.path.endswith(".h") and "#pragma once" not in source.lines[:5]:
        yield source.path, 1, "#pragma once at the top"


def columns(source):
    if source.path.endswith(".md"):
        return
    for number, line in enumerate(source.lines, 1):
        if len(line) > COLUMNS_MAX:
            yield source.path, number, f"{len(line)} columns, at most {COLUMNS_MAX}"


def file_lines(source):
    if source.path.endswith((".h", ".cc", ".inc", ".py")) and len(source.lines) > LINES_MAX:
        yield source.path, 0, f"{len(source.lines)} lines, at most {LINES_MAX}: look for the seam"


def blanks(source):
    if source.path.endswith(".md"):
        return
    for number, line in enumerate(source.lines, 1):
        if line != line.rstrip():
            yield source.path, number, "blank at the end of the line"
        if "\t" in line and source.path != "Makefile":
            yield source.path, number, "tab"
    if source.text and not source.text.endswith("\n"):
        yield source.path, len(source.lines), "no new line at the end of the file"


def banned_calls(source):
    if not source.is_cpp:
        return
    for pattern, places, instead in _BANNED:
        if inside(source.path, places):
            continue
        for match in pattern.finditer(source.code):
            word = match.group(0).strip()
            yield source.path, source.line_of(match.start()), f"{word}: use {instead}"


def unfinished(source):
    for match in _NOTE.finditer(source.text):
        line = source.line_of(match.start())
        yield source.path, line, f"{match.group(0)}: finish it or write an issue"


def machine_path(source):
    for match in _MACHINE_PATH.finditer(source.text):
        yield source.path, source.line_of(match.start()), "a path of one machine"


def every_source_in_a_target(tree):
    listed = set()
    for source in tree.sources:
        if not source.path.endswith("CMakeLists.txt"):
            continue
        folder = source.folder + "/" if source.folder else ""
        for line in source.lines:
            for name in _CMAKE_SOURCE.findall(line.split("#")[0]):
                for root in ("${PROJECT_SOURCE_DIR}/", "${CMAKE_SOURCE_DIR}/"):
                    if name.startswith(root):
                        listed.add(name[len(root):])
                        break
                else:
                    listed.add(folder + name)
    for source in tree.sources:
        if source.path.endswith(".cc") and source.path not in listed:
            yield source.path, 0, "in no target: no CMakeLists.txt lists it"


def every_folder_has_a_readme(tree):
    folders = {s.folder for s in tree.sources if s.path.endswith((".h", ".cc", ".proto", ".py"))}
    for folder in sorted(folders):
        readme = folder + "/README.md" if folder else "README.md"
        if readme not in tree.paths:
            yield readme, 0, "every folder with sources has a map"


SOURCE_RULES = [include_direction, raft_is_pure, include_from_root, pragma_once, columns,
                file_lines, blanks, banned_calls, unfinished, machine_path]
SOURCE_IN_TREE_RULES = [own_header_first, include_exists]
TREE_RULES = [every_source_in_a_target, every_folder_has_a_readme]
