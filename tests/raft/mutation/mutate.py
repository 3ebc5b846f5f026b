"""Breaks raft/ one rule at a time and asks whether the tests notice.

  mutate.py check                 every fault still applies to the sources (seconds)
  mutate.py run --build DIR       compiles a copy of the broken file, links it with the objects of
                                  the build in DIR, and runs the tests, for each fault

`run` prints one line per fault, writes a table to DIR/mutation/results.md, and fails unless at
least 95 % of the faults are caught and every survivor is explained. README.md has the format.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import queue
import random
import re
import shlex
import subprocess
import sys
import time

import schemata

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
BAR_PERCENT = 95
SECONDS_MAX = 300  # a test run that takes longer hangs: caught
CLUSTER_SEEDS = "150"  # of the randomized cluster, for faults that the scenarios let through
# Parsed once: it is most of what a compilation does.
PRECOMPILED = ["algorithm", "cstdint", "deque", "functional", "map", "memory", "optional", "string",
               "utility", "vector", "absl/container/inlined_vector.h",
               "absl/functional/function_ref.h", "absl/status/statusor.h", "absl/strings/numbers.h",
               "absl/strings/str_cat.h", "absl/strings/str_format.h", "absl/strings/str_join.h",
               "absl/types/span.h"]


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
    """A build of the sound tree, whose objects are linked with what a fault changes."""

    def __init__(self, build, work):
        self.build = build
        self.work = work
        self.sound_binary = build / "tests" / "raft" / "raft_test"
        self.broken_binary = work / "broken_test"
        (work / "raft").mkdir(parents=True, exist_ok=True)
        commands = json.loads((build / "compile_commands.json").read_text())
        self.commands = {str(pathlib.Path(one["file"]).relative_to(ROOT)): one["command"]
                         for one in commands if pathlib.Path(one["file"]).is_relative_to(ROOT)}
        lines = self._run(["ninja", "-t", "commands", "raft_test"], cwd=build).stdout
        self.link = lines.strip().splitlines()[-1]
        self.header = work.parent / "precompiled.h"
        text = ("".join(f"#include <{name}>\n" for name in PRECOMPILED) + schemata.HEADER)
        precompiled = pathlib.Path(str(self.header) + ".gch")
        if not precompiled.exists() or self.header.read_text() != text:
            self.header.write_text(text)
            self._compile(self.header, "raft/raft.cc", precompiled, ["-x", "c++-header"])

    @staticmethod
    def _run(command, **options):
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, errors="replace", check=False, **options)

    def _compile(self, source, sound, output, extra):
        """Compiles as `sound` is compiled, but fast; an overlay of headers comes first."""
        command = shlex.split(self.commands[sound])
        for flag in ("-o", "-c"):
            at = command.index(flag)
            del command[at:at + 2]
        for flag in ("-MF", "-MT"):
            if flag in command:
                at = command.index(flag)
                del command[at:at + 2]
        command = [part for part in command if part != "-MD" and not part.startswith("-g")]
        command[1:1] = [f"-I{self.work}"]
        return self._run(command + ["-O0", "-w", *extra, "-c", str(source), "-o", str(output)],
                         cwd=self.build)

    def build_with(self, fault, text):
        """Links the tests with the fault in them. The compiler's words if that fails."""
        included = ["-include", str(self.header)]
        overlay = self.work / fault.file
        overlay.write_text(text)
        if fault.file.endswith(".cc"):
            sources = {fault.file: overlay}
        else:
            # Templates and inline functions are everywhere.
            sources = {name: ROOT / name for name in self.commands
                       if re.match(r"raft/|tests/raft/(?!allocation)", name)}
        objects = []
        try:
            for name, source in sources.items():
                objects.append(self.work / (name.replace("/", "_") + ".o"))
                done = self._compile(source, name, objects[-1], included)
                if done.returncode != 0:
                    return done.stdout
        finally:
            overlay.unlink()
        link = self.link
        for name in list(sources):
            target = re.search(r"\S*/" + re.escape(pathlib.Path(name).name) + r"\.o(?= )", link)
            if target and name.startswith("tests/"):
                link = link.replace(target.group(0), "")
        names = " ".join(str(one) for one in objects)
        done = self._run(link.replace(" -o tests/raft/raft_test ",
                                      f" {names} -o {self.broken_binary} "),
                         cwd=self.build, shell=True)
        return done.stdout if done.returncode != 0 else ""

    def build_with_all(self, numbered):
        """One program that holds many faults, chosen by ETCDD_MUTANT. `numbered` is {fault:
        number}; returns the part of it that is in the program."""
        inside = {}
        objects = []
        for name in sorted({fault.file for fault in numbered if fault.file.endswith(".cc")}):
            here = {fault: number for fault, number in numbered.items() if fault.file == name}
            overlay = self.work / name
            output = self.work / (name.replace("/", "_") + ".o")
            while here:
                text, places = schemata.combine((ROOT / name).read_text(), here)
                here = {fault: number for fault, number in here.items() if number in places}
                overlay.write_text(text)
                done = self._compile(overlay, name, output, ["-include", str(self.header)])
                overlay.unlink()
                if done.returncode == 0:
                    objects.append(output)
                    inside.update(here)
                    break
                wrong = [int(line) for line in
                         re.findall(re.escape(str(overlay)) + r":(\d+):\d+: error", done.stdout)]
                out = {number for number, (first, last) in places.items()
                       if any(first <= line <= last for line in wrong)}
                here = {fault: number for fault, number in here.items()
                        if number not in out} if out else {}
        names = " ".join(str(one) for one in objects)
        done = self._run(self.link.replace(" -o tests/raft/raft_test ",
                                           f" {names} -o {self.work / 'all_test'} "),
                         cwd=self.build, shell=True)
        if done.returncode != 0:
            raise RuntimeError(done.stdout)
        return inside

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

    def first_catch(self, binary, number=0):
        conformance = os.environ.get("ETCDD_RAFT_CONFORMANCE",
                                     str(ROOT.parent / "shared" / "raft-conformance"))
        environment = {"ETCDD_RAFT_CONFORMANCE": conformance, "ETCDD_RAFT_SEEDS": CLUSTER_SEEDS,
                       "ETCDD_MUTANT": str(number)}
        return (self.test("-RandomCluster*:*Script*", environment, binary)
                or self.test("*Script*", environment, binary)
                or self.test("RandomCluster*", environment, binary))

    def judge(self, fault, number):
        """Returns (verdict, detail): "caught" by whom, "survived", or "error" and why. `number` is
        the fault's in the program of build_with_all; 0 if it needs one of its own."""
        if number != 0:
            catcher = self.first_catch(self.work.parent / "0" / "all_test", number)
            return ("caught", catcher) if catcher else ("survived", "")
        words = self.build_with(fault, fault.apply((ROOT / fault.file).read_text()))
        if words:
            error = next((line for line in words.splitlines() if "error" in line), words)
            return "error", "does not compile: " + error
        catcher = self.first_catch(self.broken_binary)
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


def run(build, only, resume, jobs):
    work = build / "mutation"
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
    shops = [Workshop(build, work / str(number)) for number in range(jobs)]
    broken = shops[0].first_catch(shops[0].sound_binary)
    if broken:
        print(f"the sound sources fail {broken}")
        return 1
    results = [(fault, *verdicts[key(fault)]) for fault in faults
               if verdicts.get(key(fault), [""])[0] == "caught"]
    done = {fault.name for fault, *_ in results}
    numbers = shops[0].build_with_all({fault: number for number, fault in enumerate(faults, 1)
                                       if fault.name not in done})
    broken = shops[0].first_catch(shops[0].work / "all_test")
    if broken:
        print(f"with all faults in but none chosen, {broken} fails: each gets its own program")
        numbers = {}
    print(f"{len(numbers)} faults in one program")
    idle = queue.SimpleQueue()
    for shop in shops:
        idle.put(shop)

    def judge(fault):
        shop = idle.get()
        begin = time.monotonic()
        verdict, detail = shop.judge(fault, numbers.get(fault, 0))
        idle.put(shop)
        print(f"{verdict:8} {fault.file}: {fault.name}  {detail}  "
              f"({time.monotonic() - begin:.0f} s)", flush=True)
        return fault, verdict, detail

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for result in pool.map(judge, [fault for fault in faults if fault.name not in done]):
            results.append(result)
            verdicts[key(result[0])] = result[1:]
            (work / "verdicts.json").write_text(json.dumps(verdicts))
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
    parser.add_argument("--build", type=pathlib.Path,
                        help="build folder of run, with raft_test up to date")
    parser.add_argument("--resume", action="store_true",
                        help="believe an earlier round where it caught a fault")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="faults at a time")
    parser.add_argument("--only", default="", help="regular expression on fault names")
    arguments = parser.parse_args()
    if arguments.what == "check":
        return check()
    if arguments.build is None:
        parser.error("run needs --build")
    return run(arguments.build.resolve(), arguments.only, arguments.resume, arguments.jobs)


if __name__ == "__main__":
    sys.exit(main())
