"""A network of its own for the members of a cluster: a namespace each, joined by a bridge.

The bridge stands in a namespace too, so that no rule of the machine's touches its traffic; the test
itself has a leg in that network and reaches every member whatever is cut between them.
Needs root and iproute2, and iptables in the kernel: see usable().
"""

import itertools
import os
import random
import subprocess

_serial = itertools.count()


def _run(*words):
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def usable():
    """None, or why there can be no such network here."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    net = None
    try:
        net = Network(1)
        net.cut(0, 0)
        return None
    except (OSError, subprocess.CalledProcessError) as error:
        return f"no network namespaces here: {error} {getattr(error, 'stderr', b'')}"
    finally:
        if net:
            net.close()


class Network:
    """places[i]: the options of member i (see member.Member). After a failure in the constructor
    what was made is gone again."""

    def __init__(self, size):
        self.name = f"ed{os.getpid() % 100_000}x{next(_serial)}"
        # 198.18.0.0/15 is set aside for tests of networks (RFC 2544).
        self.net = f"198.18.{random.SystemRandom().randrange(256)}"
        self.spaces = []
        self.hosts = [f"{self.net}.{10 + i}" for i in range(size)]
        try:
            self._build(size)
        except BaseException:
            self.close()
            raise
        self.places = [{"host": host, "prefix": ("ip", "netns", "exec", space)}
                       for host, space in zip(self.hosts, self.spaces[1:])]

    def _space(self, name):
        _run("ip", "netns", "add", name)
        self.spaces.append(name)
        _run("ip", "-n", name, "link", "set", "dev", "lo", "up")

    def _build(self, size):
        hub = self.name + "h"
        self._space(hub)
        _run("ip", "-n", hub, "link", "add", "name", "hub", "type", "bridge")
        _run("ip", "-n", hub, "link", "set", "dev", "hub", "up")
        self._leg(hub, "t", None, f"{self.net}.1/24")
        for i in range(size):
            self._space(f"{self.name}m{i}")
            self._leg(hub, f"m{i}", self.spaces[-1], self.hosts[i] + "/24")

    def _leg(self, hub, port, space, address):
        """A cable from the bridge to this namespace (None: the test's own)."""
        end = self.name + port
        _run("ip", "link", "add", "name", end, "type", "veth", "peer", "name", port, "netns", hub)
        _run("ip", "-n", hub, "link", "set", "dev", port, "master", "hub", "up")
        inside = ()
        if space:
            _run("ip", "link", "set", "dev", end, "netns", space)
            inside = ("-n", space)
        _run("ip", *inside, "address", "add", address, "dev", end)
        _run("ip", *inside, "link", "set", "dev", end, "up")

    def cut(self, sender, receiver):
        """Nothing that `sender` sends arrives at `receiver` any more; the other way stays."""
        self._iptables(receiver, "-A", "INPUT", "-s", self.hosts[sender], "-j", "DROP")

    def isolate(self, place):
        """Cuts the member off from all others, both ways; clients still reach it."""
        for other in range(len(self.hosts)):
            if other != place:
                self.cut(place, other)
                self.cut(other, place)

    def heal(self):
        for place in range(len(self.hosts)):
            self._iptables(place, "-F", "INPUT")

    def _iptables(self, place, *words):
        _run("ip", "netns", "exec", self.spaces[1 + place], "iptables", "-w", *words)

    def close(self):
        """Requires: the members have ended."""
        for space in self.spaces:
            subprocess.run(["ip", "netns", "delete", space], check=False)
        self.spaces = []
        # Gone with the hub's end, but only some time after the namespace: not for long.
        subprocess.run(["ip", "link", "delete", self.name + "t"], check=False,
                       stderr=subprocess.DEVNULL)
