#!/usr/bin/env python3
"""docker/local_cluster.sh, which is `make cluster`: three processes that come, go and come back."""

import os
import pathlib
import re
import signal
import subprocess
import tempfile
import unittest

import api
import case
import member

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "docker" / "local_cluster.sh"


class Port:
    """Where a member of the script answers."""

    def __init__(self, number):
        self.endpoint = f"127.0.0.1:{number}"


class LocalClusterTest(case.ClusterTest):
    def setUp(self):
        self.scratch = tempfile.TemporaryDirectory(prefix="etcdd-e2e-")
        self.addCleanup(self.scratch.cleanup)
        client_ports = [member.free_port() for _ in range(3)]
        peer_ports = [member.free_port() for _ in range(3)]
        self.environment = dict(os.environ,
                                ETCDD_CLIENT_PORTS=" ".join(map(str, client_ports)),
                                ETCDD_PEER_PORTS=" ".join(map(str, peer_ports)))
        self.members = [Port(number) for number in client_ports]
        self.clients = {m: self.client(m, timeout_seconds=10) for m in self.members}

    def launch(self, program=None):
        script = subprocess.Popen(
            [SCRIPT, program or member.etcdd_binary(), os.path.join(self.scratch.name, "c.etcd")],
            env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, start_new_session=True)
        self.addCleanup(self._end, script)
        return script

    @staticmethod
    def _end(script):
        if script.poll() is None:
            script.terminate()
            script.wait(member.PATIENCE_SECONDS)
        script.stdout.close()

    def line(self, script, words):
        """Reads what the script says up to a line with these words."""
        said = []
        for line in script.stdout:
            said.append(line)
            if words in line:
                return line
        return self.fail(f"no {words!r} in:\n{''.join(said)}")

    def pids(self, script):
        """The members' process ids, as the script tells them."""
        return [int(number) for number in
                re.match(r"\s+kill -9 (\d+)\D+\d\D+\d is (\d+)\D+\d (\d+)\n",
                         self.line(script, "kill -9")).groups()]

    def test_members_serve_return_and_keep_their_data(self):
        script = self.launch()
        pids = self.pids(script)
        self.put_somewhere(self.members, b"k", b"v")
        os.kill(pids[0], signal.SIGKILL)
        self.line(script, "etcdd1 ended with code 137")
        self.put_somewhere(self.members[1:], b"k", b"w")
        script.send_signal(signal.SIGUSR1)
        self.line(script, "etcdd1 starts again")
        self.until("its return", lambda: self.clients[self.members[0]].value(b"k") == b"w")
        # As Ctrl-C, which reaches the script's process group.
        os.killpg(script.pid, signal.SIGINT)
        self.assertEqual(script.wait(member.PATIENCE_SECONDS), 0, script.stdout.read())
        for pid in pids:
            with self.assertRaises(ProcessLookupError):
                os.kill(pid, 0)
        self.pids(self.launch())
        for m in self.members:
            self.clients[m] = api.Client(m.endpoint)
            self.addCleanup(self.clients[m].close)
            self.assertEqual(self.clients[m].value(b"k"), b"w")

    def test_program_that_ends_at_once_is_reported(self):
        script = self.launch(program="/bin/false")
        self.line(script, "etcdd1 does not come up")
        self.assertEqual(script.wait(member.PATIENCE_SECONDS), 1)

    def test_says_when_no_member_is_left(self):
        script = self.launch()
        for pid in self.pids(script):
            os.kill(pid, signal.SIGKILL)
        self.line(script, "no member is left")
        self.assertEqual(script.wait(member.PATIENCE_SECONDS), 1)


if __name__ == "__main__":
    unittest.main()
