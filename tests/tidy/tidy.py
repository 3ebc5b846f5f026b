#!/usr/bin/env python3
"""The house's linter, run as a test: `tidy.py [ROOT]` prints each violation as path:line: rule:
text and ends with 1 when there was one. Rules: rules.py; who may include what: graph.py."""

import os
import pathlib
import sys

import exemptions
import rules
from source import Source, inside

TEXT_SUFFIXES = (".h", ".cc", ".inc", ".proto", ".py", ".md", ".cmake", ".sh", ".yaml", ".yml",
                 "CMakeLists.txt", "Dockerfile", "Makefile")
SKIPPED_FOLDERS = {"build", "__pycache__", "testdata", "third_party", "default.etcd"}


class Tree:
    def __init__(self, sources):
        self.sources = sources
        self.paths = {source.path for source in sources}


def load(root):
    sources = []
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = sorted(
            name for name in subfolders if name not in SKIPPED_FOLDERS and name[0] != ".")
        for name in sorted(names):
            if not name.endswith(TEXT_SUFFIXES):
                continue
            file = pathlib.Path(folder, name)
            sources.append(Source(file.relative_to(root).as_posix(),
                                  file.read_text(encoding="utf-8")))
    return Tree(sources)


def violations(tree):
    """All of (path, line, rule, text), exemptions not yet looked at."""
    found = []
    for source in tree.sources:
        for rule in rules.SOURCE_RULES:
            found += [(path, line, rule.__name__, text) for path, line, text in rule(source)]
        for rule in rules.SOURCE_IN_TREE_RULES:
            found += [(path, line, rule.__name__, text) for path, line, text in rule(source, tree)]
    for rule in rules.TREE_RULES:
        found += [(path, line, rule.__name__, text) for path, line, text in rule(tree)]
    return sorted(found)


def apply_exemptions(found, exempt):
    """What is left, with a violation for each exemption that exempts nothing."""
    used = set()
    left = []
    for violation in found:
        path, _, rule, _ = violation
        hits = [entry for entry in exempt if entry[0] == rule and inside(path, [entry[1]])]
        used.update(hits)
        if not hits:
            left.append(violation)
    for entry in exempt:
        if entry not in used:
            left.append((entry[1], 0, "exemptions", f"exemption from {entry[0]} is not needed"))
    return left


def main(arguments):
    root = pathlib.Path(arguments[1]) if len(arguments) > 1 else (
        pathlib.Path(__file__).resolve().parents[2])
    tree = load(root)
    if not tree.sources:
        print(f"{root}: no sources found", file=sys.stderr)
        return 2
    left = apply_exemptions(violations(tree), exemptions.EXEMPTIONS)
    for path, line, rule, text in left:
        print(f"{path}:{line}: {rule}: {text}")
    print(f"{len(tree.sources)} files, {len(left)} violations")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
