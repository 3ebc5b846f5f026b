"""Failover: from kill -9 of the leader to the first acknowledged write through the others.

A client with one connection to each of the other two members puts through both, again every few
milliseconds and without waiting for the earlier puts, until one is acknowledged. Rounds of etcd and
of etcdd alternate, each round on the same cluster of three, whose killed member is started again
before the next.

  failover.py [--rounds 20] [--etcd PATH] [--etcdd PATH] [--heartbeat MS] [--election MS]

Prints a Markdown table; progress goes to stderr.
"""

import argparse
import os
import random
import statistics
import sys
import time

import grpc

_HERE = os.path.dirname(os.path.abspath(__file__))
_ROOT = os.path.dirname(os.path.dirname(_HERE))
sys.path.insert(0, os.path.join(os.path.dirname(_HERE), "e2e"))

import api      # noqa: E402
import member   # noqa: E402

# How long the cluster runs undisturbed before a kill: heartbeats at a random phase.
_REST_SECONDS = (0.5, 1.0)
_PUT_SECONDS = 10
_RETRY_SECONDS = 0.004


class _EtcdCluster(member.Cluster):
    """The same cluster of another binary."""

    def __init__(self, program, *args):
        super().__init__(3, *args)
        for made in self.members:
            made.program = program


def _ready(members):
    """Waits until all serve and agree on a leader; returns it and clients of the others."""
    clients = {m: api.Client(m.endpoint) for m in members}
    over = member.deadline()
    while True:
        try:
            views = {m: clients[m].Status(api.StatusRequest(), timeout=2) for m in members}
            leaders = {view.leader for view in views.values()}
            applied = {view.raftIndex for view in views.values()}
            if len(leaders) == 1 and len(applied) == 1 and 0 not in leaders:
                break
        except grpc.RpcError:
            for m in members:
                clients[m].close()
            clients = {m: api.Client(m.endpoint) for m in members}
        assert not over(), "the members do not agree"
        time.sleep(0.05)
    leader = next(m for m in members if views[m].header.member_id in leaders)
    clients.pop(leader).close()
    return leader, clients


def _first_write(clients):
    """Puts through both of them again and again until one put is acknowledged. The earlier ones
    stay under way: a member passes them on to the leader it knows, where they may be lost."""
    calls = []
    while True:
        for m in list(clients):
            calls.append(clients[m].Put.future(api.PutRequest(key=b"k", value=b"v"),
                                               timeout=_PUT_SECONDS))
        for call in [call for call in calls if call.done()]:
            if call.exception() is None:
                return
            calls.remove(call)
        time.sleep(_RETRY_SECONDS)


def _round(cluster):
    leader, clients = _ready(cluster.members)
    for client in clients.values():
        client.put(b"k", b"before")   # the connections stand
    time.sleep(random.uniform(*_REST_SECONDS))
    leader.kill()
    began = time.monotonic()
    _first_write(clients)
    took = time.monotonic() - began
    for client in clients.values():
        client.close()
    leader.launch()
    return took


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--etcd", default="/usr/bin/etcd")
    parser.add_argument("--etcdd", default=os.path.join(_ROOT, "build/release/cmd/etcdd/etcdd"))
    parser.add_argument("--heartbeat", type=int, default=100)
    parser.add_argument("--election", type=int, default=1000)
    args = parser.parse_args()
    flags = ["--heartbeat-interval", str(args.heartbeat), "--election-timeout", str(args.election),
             "--logger", "zap"]
    os.environ.setdefault("ETCDD_BINARY", args.etcdd)
    programs = {"etcd": args.etcd, "etcdd": args.etcdd}
    took = {name: [] for name in programs}
    clusters = {name: _EtcdCluster(program, *flags) for name, program in programs.items()}
    try:
        for cluster in clusters.values():
            for m in cluster.members:
                m.launch()
        for number in range(args.rounds):
            for name, cluster in clusters.items():
                took[name].append(_round(cluster))
            print(f"round {number + 1} of {args.rounds}: " + ", ".join(
                f"{name} {times[-1]:.3f} s" for name, times in took.items()), file=sys.stderr)
    finally:
        for cluster in clusters.values():
            cluster.stop()
    print("| kill -9 of the leader to the first acknowledged put | median s | least | most |")
    print("|---|---|---|---|")
    for name, times in took.items():
        print(f"| {name} | {statistics.median(times):.3f} | {min(times):.3f} | {max(times):.3f} |")
    ratio = statistics.median(took["etcdd"]) / statistics.median(took["etcd"])
    print(f"| etcdd / etcd | {ratio:.2f}x | | |")


if __name__ == "__main__":
    main()
