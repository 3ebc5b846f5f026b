"""Breaks raft/ one rule at a time and asks whether the tests notice.

  mutate.py check                 every fault still applies to the sources (seconds)
  mutate.py run --work DIR        builds and tests each fault in a copy of the tree under DIR

`run` prints one line per fault, writes a table to DIR/results.md, and fails unless at least 95 % of
the faults are caught and every survivor carries an explanation. README.md has the format.
"""

import argparse
import json
import os
import pathlib
import random
import re
import shlex
import shutil
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
BAR_PERCENT = 95
SECONDS_MAX = 120  # a test run that takes longer hangs: caught
CLUSTER_SEEDS = "150"  # of the randomized cluster, for faults that the scenarios let through
JOBS = str(os.cpu_count() or 1)
FLAGS = "-O0 -w"
# Parsed once: it is most of what a compilation does.
PRECOMPILED = ["algorithm", "cstdint", "deque", "functional", "iostream", "map", "memory",
               "optional", "set", "sstream", "string", "utility", "vector",
               "absl/container/inlined_vector.h", "absl/functional/function_ref.h",
               "absl/status/statusor.h", "absl/strings/numbers.h", "absl/strings/str_cat.h",
               "absl/strings/str_format.h", "absl/strings/str_join.h", "absl/types/span.h",
               "gmock/gmock.h", "gtest/gtest.h"]
COPIED = ["CMakeLists.txt", "CMakePresets.json", "cmake", "cmd", "mvcc", "proto", "raft", "server",
          "snap", "tests", "wal"]


class Fault:
    """One broken rule: the text that is replaced in one file."""

    def __init__(self, where, name):
        self.where = where
        self.name = name
        self.file = ""
        self.rule = ""
        self.equivalent = ""  # why no test can notice, if none can
        self.old = []
        self.new = []

    def apply(self, text):
        """The text with the fault; ValueError if it does not apply exactly once."""
        old = "".join(line + "\n" for line in self.old)
        new = "".join(line + "\n" for line in self.new)
        hits = len(re.findall("^" + re.escape(old), text, re.M)) if old else 0
        if hits != 1:
            raise ValueError(f"{self.where}: {self.name}: its lines occur {hits} times "
                             f"in {self.file}")
        at = re.search("^" + re.escape(old), text, re.M).start()
        return text[:at] + new + text[at + len(old):]


def parse(path):
    faults = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        where = f"{path.name}:{number}"
        if not line or line.startswith("#"):
            continue
        if line.startswith("fault "):
            faults.append(Fault(where, line[len("fault "):]))
            continue
        if not faults:
            raise ValueError(f"{where}: no fault yet")
        fault = faults[-1]
        key, _, value = line.partition(" ")
        if key in ("file", "rule", "equivalent"):
            setattr(fault, key, value)
        elif line[0] == "-":
            fault.old.append(line[1:])
        elif line[0] == "+":
            fault.new.append(line[1:])
        elif line[0] == " ":
            fault.old.append(line[1:])
            fault.new.append(line[1:])
        else:
            raise ValueError(f"{where}: {line}")
    return faults


def load():
    faults = []
    for path in sorted((HERE / "faults").glob("*.txt")):
        faults += parse(path)
    return faults


def problems(faults):
    """What is wrong with the faults themselves, one text each."""
    seen = set()
    for fault in faults:
        if fault.name in seen:
            yield f"{fault.where}: {fault.name}: named twice"
        seen.add(fault.name)
        if not fault.file or not fault.rule or fault.old == fault.new:
            yield f"{fault.where}: {fault.name}: file, rule or change missing"
            continue
        try:
            fault.apply((ROOT / fault.file).read_text())
        except (ValueError, OSError) as error:
            yield str(error)


def check():
    faults = load()
    found = list(problems(faults))
    for text in found:
        print(text)
    files = {fault.file for fault in faults}
    print(f"{len(faults)} faults in {len(files)} files, {len(found)} problems")
    return 1 if found else 0


class Workshop:
    """A copy of the tree, built once; then one file at a time is broken and mended."""

    def __init__(self, work):
        self.tree = work / "tree"
        self.build = work / "build"
        self.binary = self.build / "tests" / "raft" / "raft_test"
        self.broken_binary = self.build / "broken_test"
        self.link = ""  # how raft_test is linked; known once it is made
        self._copy()
        header = work / "precompiled.h"
        header.write_text("".join(f"#include <{name}>\n" for name in PRECOMPILED))
        self._run(["cmake", "-S", str(self.tree), "-B", str(self.build), "-G", "Ninja",
                   "-DCMAKE_BUILD_TYPE=Release", "-DCCACHE=OFF",
                   f"-DCMAKE_CXX_FLAGS_RELEASE={FLAGS} -include {header}"])
        self._run(["c++", "-std=c++20", "-msse4.2", *FLAGS.split(), "-x", "c++-header",
                   str(header), "-o", str(header) + ".gch"])

    def _copy(self):
        """Writes only what differs, so that nothing is built twice."""
        ignore = shutil.ignore_patterns("build", "__pycache__")

        def copy(source, target):
            if not os.path.exists(target) or (pathlib.Path(source).read_bytes()
                                              != pathlib.Path(target).read_bytes()):
                shutil.copyfile(source, target)
            return target

        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, self.tree / name, copy_function=copy, ignore=ignore,
                                dirs_exist_ok=True)
            else:
                self.tree.mkdir(parents=True, exist_ok=True)
                copy(source, self.tree / name)

    @staticmethod
    def _run(command, **options):
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, errors="replace", check=False, **options)

    def make(self):
        """The compiler's words if the build fails, else nothing."""
        done = self._run(["cmake", "--build", str(self.build), "--target", "raft_test", "-j", JOBS])
        lines = self._run(["ninja", "-t", "commands", "raft_test"], cwd=self.build).stdout
        self.link = lines.strip().splitlines()[-1]
        return done.stdout if done.returncode != 0 else ""

    def compile_and_link(self, source, sound):
        """Only what one broken .cc file needs: its object, linked before the sound library."""
        commands = json.loads((self.build / "compile_commands.json").read_text())
        command = next(shlex.split(one["command"]) for one in commands
                       if one["file"] == str(sound))
        broken = self.build / "broken.o"
        for flag in ("-o", "-MF", "-MT"):
            if flag in command:
                command[command.index(flag) + 1] = str(broken) + ("" if flag == "-o" else ".d")
        command[command.index("-c") + 1] = str(source)
        done = self._run(command, cwd=self.build)
        if done.returncode == 0:
            link = self.link.replace(" -o tests/raft/raft_test ",
                                     f" {broken} -o {self.broken_binary} ")
            done = self._run(link, cwd=self.build, shell=True)
        return done.stdout if done.returncode != 0 else ""

    def test(self, filters, environment, binary):
        """Which test failed, or nothing."""
        command = [str(binary), "--gtest_fail_fast", f"--gtest_filter={filters}"]
        try:
            done = self._run(command, timeout=SECONDS_MAX, cwd=self.build,
                             env={**os.environ, **environment})
        except subprocess.TimeoutExpired:
            return "no end"
        if done.returncode == 0:
            return ""
        running = re.findall(r"^\[ RUN      \] (\S+)", done.stdout, re.M)
        failed = re.findall(r"^\[  FAILED  \] (\S+?),?(?: |$)", done.stdout, re.M)
        return failed[0] if failed else (running or ["start"])[-1]

    def first_catch(self, binary=None):
        binary = binary or self.binary
        conformance = os.environ.get("ETCDD_RAFT_CONFORMANCE",
                                     str(ROOT.parent / "shared" / "raft-conformance"))
        environment = {"ETCDD_RAFT_CONFORMANCE": conformance,
                       "ETCDD_RAFT_SEEDS": CLUSTER_SEEDS}
        return (self.test("-RandomCluster*:*Script*", environment, binary)
                or self.test("*Script*", environment, binary)
                or self.test("RandomCluster*", environment, binary))

    def judge(self, fault):
        """Returns (verdict, detail): "caught" by whom, "survived", or "error" and why."""
        sound = self.tree / fault.file
        text = fault.apply(sound.read_text())
        if fault.file.endswith(".cc"):
            source = self.build / "broken.cc"
            source.write_text(text)
            return self._verdict(self.compile_and_link(source, sound), self.broken_binary)
        whole = sound.read_text()
        try:
            sound.write_text(text)
            return self._verdict(self.make(), self.binary)
        finally:
            sound.write_text(whole)

    def _verdict(self, words, binary):
        if words:
            error = next((line for line in words.splitlines() if "error" in line), words)
            return "error", "does not compile: " + error
        catcher = self.first_catch(binary)
        return ("caught", catcher) if catcher else ("survived", "")


def table(results):
    lines = ["| fault | in | rule broken | noticed by |", "|---|---|---|---|"]
    for fault, verdict, detail in results:
        note = f"`{detail}`" if verdict == "caught" else f"**{verdict}** {detail}"
        if verdict == "survived" and fault.equivalent:
            note = "not noticed: " + fault.equivalent
        lines.append(f"| {fault.name} | {fault.file[len('raft/'):]} | {fault.rule} | {note} |")
    return "\n".join(lines) + "\n"


def key(fault):
    return "\n".join([fault.name, fault.file] + fault.old + ["becomes"] + fault.new)


def remembered(work):
    """Verdicts of earlier rounds, by fault."""
    path = work / "verdicts.json"
    return json.loads(path.read_text()) if path.exists() else {}


def run(work, only, resume):
    faults = load()
    found = list(problems(faults))
    if found:
        print("\n".join(found))
        return 1
    faults = [fault for fault in faults if re.search(only, fault.name)]
    # In an order that makes a round cut short a fair sample; headers, which rebuild all, last.
    random.Random(1).shuffle(faults)
    faults.sort(key=lambda fault: fault.file.endswith(".h"))
    verdicts = remembered(work) if resume else {}
    shop = Workshop(work)
    words = shop.make()
    if words:
        print(words)
        return 1
    broken = shop.first_catch()
    if broken:
        print(f"the sound sources fail {broken}")
        return 1
    results = []
    for fault in faults:
        begin = time.monotonic()
        if verdicts.get(key(fault), [""])[0] == "caught":
            results.append((fault, *verdicts[key(fault)]))
            continue
        verdict, detail = shop.judge(fault)
        results.append((fault, verdict, detail))
        verdicts[key(fault)] = [verdict, detail]
        (work / "verdicts.json").write_text(json.dumps(verdicts))
        print(f"{verdict:8} {fault.file}: {fault.name}  {detail}  "
              f"({time.monotonic() - begin:.0f} s)", flush=True)
    caught = sum(verdict == "caught" for _, verdict, _ in results)
    errors = [fault for fault, verdict, _ in results if verdict == "error"]
    unexplained = [fault for fault, verdict, _ in results
                   if verdict == "survived" and not fault.equivalent]
    explained = len(results) - caught - len(errors) - len(unexplained)
    percent = 100 * caught / max(len(results), 1)
    summary = (f"{len(results)} faults: {caught} caught ({percent:.1f} %), {explained} survivors "
               f"explained, {len(unexplained)} not explained, {len(errors)} errors")
    results.sort(key=lambda result: (result[0].file, result[0].where))
    (work / "results.md").write_text(summary + "\n\n" + table(results))
    print(summary)
    return 0 if percent >= BAR_PERCENT and not unexplained and not errors else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["check", "run"])
    parser.add_argument("--work", type=pathlib.Path, help="scratch folder of run")
    parser.add_argument("--resume", action="store_true",
                        help="believe an earlier round where it caught a fault")
    parser.add_argument("--only", default="", help="regular expression on fault names")
    arguments = parser.parse_args()
    if arguments.what == "check":
        return check()
    if arguments.work is None:
        parser.error("run needs --work")
    return run(arguments.work.resolve(), arguments.only, arguments.resume)


if __name__ == "__main__":
    sys.exit(main())
