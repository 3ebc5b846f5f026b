"""Members that find each other through DNS SRV records: --discovery-srv.

The script runs itself again in namespaces of its own, where /etc/resolv.conf names a DNS server
that is part of the test. Needs the right to make them (root, or user namespaces), else it is
skipped.
"""

import fcntl
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import unittest

import case

INSIDE = "ETCDD_E2E_IN_NAMESPACE"
SRV = 33
NO_SUCH_NAME = 3


def make_world():
    """In the namespaces: loopback up, and nothing but loopback to ask for names."""
    with socket.socket() as any_socket:
        ifreq = struct.pack("16sh14x", b"lo", 1 | 0x40)  # up, running
        fcntl.ioctl(any_socket, 0x8914, ifreq)
    with tempfile.NamedTemporaryFile("w", suffix=".conf", delete=False) as conf:
        conf.write("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    subprocess.run(["mount", "--bind", conf.name, os.path.realpath("/etc/resolv.conf")], check=True)
    os.unlink(conf.name)


def labels(name):
    return b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"


class DnsServer:
    """Answers SRV questions from {name: [(host, port), ...]}, all others with NXDOMAIN."""

    def __init__(self, records):
        self.records = records
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 53))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            query, client = self.socket.recvfrom(4096)
            self.socket.sendto(self._reply(query), client)

    def _reply(self, query):
        parts, at = [], 12
        while query[at]:
            parts.append(query[at + 1:at + 1 + query[at]].decode())
            at += 1 + query[at]
        targets = self.records.get(".".join(parts), [])
        flags = 0x8580 | (0 if targets else NO_SUCH_NAME)
        reply = query[:2] + struct.pack(">5H", flags, 1, len(targets), 0, 0) + query[12:at + 5]
        for host, port in targets:
            data = struct.pack(">3H", 0, 0, port) + labels(host)
            reply += struct.pack(">3HIH", 0xc00c, SRV, 1, 60, len(data)) + data
        return reply


class SrvTest(case.MemberTest):

    @classmethod
    def setUpClass(cls):
        cls.records = {}
        cls.dns = DnsServer(cls.records)

    def newcomer(self, name, domain, *args):
        made = self.member()
        made.args += ["--name", name, "--initial-advertise-peer-urls",
                      f"http://127.0.0.1:{made.peer_port}", "--discovery-srv", domain, *args]
        return made

    def test_three_members_make_a_cluster(self):
        """The records name a host, the members advertise its address."""
        members = [self.newcomer(f"m{i}", "three.test", "--discovery-srv-name", "east")
                   for i in range(3)]
        self.records["_etcd-server-east._tcp.three.test"] = [("localhost", m.peer_port)
                                                             for m in members]
        for each in members:
            each.launch()
        for each in members:
            each.wait_for_log(each.ready)
        clients = [self.client(each) for each in members]
        clients[0].put(b"k", b"v")
        for client in clients:
            self.assertEqual(client.value(b"k"), b"v")
        # Restarted, a member does not ask again.
        del self.records["_etcd-server-east._tcp.three.test"]
        members[1].kill()
        members[1].start()

    def test_a_member_that_is_not_listed_is_refused(self):
        self.records["_etcd-server._tcp.other.test"] = [("localhost", 1)]
        m = self.newcomer("m0", "other.test")
        self.assertEqual(m.run_to_end(), 1)
        self.assertIn('cannot find local etcd member "m0" in SRV records', m.errors()[-1]["error"])

    def test_no_records(self):
        m = self.newcomer("m0", "none.test")
        self.assertEqual(m.run_to_end(), 1)
        self.assertIn("error querying DNS SRV records for _etcd-server-ssl",
                      m.errors()[-1]["error"])


def main():
    if os.environ.get(INSIDE):
        make_world()
        unittest.main()
    for extra in ([], ["--user", "--map-root-user"]):
        unshare = ["unshare", *extra, "--mount", "--net"]
        tried = subprocess.run([*unshare, "true"], stderr=subprocess.DEVNULL, check=False)
        if tried.returncode == 0:
            os.environ[INSIDE] = "1"
            os.execvp("unshare", [*unshare, sys.executable, *sys.argv])
    print("skipped: no right to make namespaces")


if __name__ == "__main__":
    main()
