#!/usr/bin/env python3
"""The commands of README.md do what it says: the etcdctl sessions run against members."""

import os
import pathlib
import re
import shutil
import subprocess
import unittest

from member import Cluster, Member

ROOT = pathlib.Path(__file__).resolve().parents[2]


def indented_blocks(text):
    """The lines of each indented block, as lists of commands without comments."""
    blocks = re.findall(r"(?:^    .*\n)+", text, re.MULTILINE)
    return [[re.sub(r"\s+#.*", "", line).strip() for line in block.splitlines()]
            for block in blocks]


class ReadmeTest(unittest.TestCase):
    def setUp(self):
        self.blocks = indented_blocks((ROOT / "README.md").read_text())

    def test_the_make_commands_are_targets_of_the_makefile(self):
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        self.assertEqual(self.blocks[0], ["make run", "make test"])
        self.assertEqual(self.blocks[2], ["make cluster", "make compose", "make compose-down"])
        for command in self.blocks[0] + self.blocks[2]:
            self.assertIn(command.split()[1], targets)
        self.assertIn("make test", (ROOT / ".ci" / "run").read_text())

    def test_the_etcdctl_session(self):
        if shutil.which("etcdctl") is None:
            self.skipTest("etcdctl is not installed (Debian package etcd-client)")
        export, put, get, watch = self.blocks[1]
        name, value = export.removeprefix("export ").split("=")
        environment = dict(os.environ, **{name: value})
        with Member() as member:
            member.start()
            environment["ETCDCTL_ENDPOINTS"] = member.endpoint

            def run(command, **options):
                return subprocess.run(command.split(), env=environment, capture_output=True,
                                      text=True, check=False, **options)

            self.assertEqual(run(put, timeout=10).stdout, "OK\n")
            self.assertEqual(run(get, timeout=10).stdout, "greeting\nhello\n")
            with subprocess.Popen(watch.split() + ["--rev", "1"], env=environment, text=True,
                                  stdout=subprocess.PIPE) as watching:
                lines = [watching.stdout.readline() for _ in range(3)]
                watching.terminate()
            self.assertEqual(lines, ["PUT\n", "greeting\n", "hello\n"])

    def test_the_session_with_a_cluster(self):
        if shutil.which("etcdctl") is None:
            self.skipTest("etcdctl is not installed (Debian package etcd-client)")
        export, status = self.blocks[3]
        name, endpoints = export.removeprefix("export ").split("=")
        # The ports of both ways to a cluster, which local_cluster_test and compose_test start.
        ports = re.findall(r":(\d+)", endpoints)
        script = (ROOT / "docker" / "local_cluster.sh").read_text()
        self.assertIn("ETCDD_CLIENT_PORTS:-" + " ".join(ports) + "}", script)
        compose = (ROOT / "docker" / "compose.yaml").read_text()
        for number, port in enumerate(ports, 1):
            self.assertIn(f"127.0.0.1:${{ETCDD_PORT{number}:-{port}}}:2379", compose)
        with Cluster(3) as cluster:
            cluster.start()
            environment = dict(os.environ, ETCDCTL_API="3", **{name: cluster.endpoints()})
            table = subprocess.run(status.split(), env=environment, capture_output=True,
                                   text=True, check=False, timeout=60).stdout
        for member in cluster.members:
            self.assertIn(member.endpoint, table)


if __name__ == "__main__":
    unittest.main()
