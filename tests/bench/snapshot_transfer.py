"""What it costs to send the whole store to a new member: memory on both sides, and the puts that go
on meanwhile.

Two members hold --mib of values of 1 KiB. etcdd-bench puts at a steady load; its rate before is
compared with that while a third member, which joins empty, receives the image: from its start to
the moment it has applied it. Memory is sampled every 20 ms: resident
and anonymous, without pages of files.

  snapshot_transfer.py [--mib 1024] [--etcdd PATH] [--bench PATH] [--dir /var/tmp]

Prints a Markdown table; progress goes to stderr.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time

_HERE = os.path.dirname(os.path.abspath(__file__))
_ROOT = os.path.dirname(os.path.dirname(_HERE))
sys.path.insert(0, os.path.join(os.path.dirname(_HERE), "e2e"))

import api      # noqa: E402
import member   # noqa: E402

_VALUE_BYTES = 1024
_BEFORE_SECONDS = 10
_APPLIED = "applied snapshot"


def _rss_mib(pid):
    """Resident memory that is the process's own; pages of files mapped or cached do not count."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon")) / 1024


class _Peaks:
    """The highest memory of each process since the last reset()."""

    def __init__(self, members):
        self._members = members
        self._over = threading.Event()
        self.reset()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def reset(self):
        self.mib = {}

    def _run(self):
        while not self._over.wait(0.02):
            for m in list(self._members):
                if m.process is not None and m.process.poll() is None:
                    self.mib[m] = max(self.mib.get(m, 0), _rss_mib(m.process.pid))

    def stop(self):
        self._over.set()
        self._thread.join()


class _Rate:
    """Puts per second, from the revision of a member: no client's pause distorts it."""

    def __init__(self, client):
        self._client = client
        self.mark()

    def _revision(self):
        return self._client.status().header.revision

    def mark(self):
        self._revision_then, self._then = self._revision(), time.monotonic()

    def since(self):
        return (self._revision() - self._revision_then) / (time.monotonic() - self._then)


def _leader(members):
    while True:
        for m in members:
            with api.Client(m.endpoint) as client:
                status = client.status()
                if status.leader == status.header.member_id:
                    return m
        time.sleep(0.1)


def _measure(args, cluster, members):
    for m in cluster.members:
        m.launch()
    for m in cluster.members:
        m.wait_for_log(m.ready)
    leader = _leader(cluster.members)
    keys = args.mib << 10
    print(f"loading {keys} keys", file=sys.stderr)
    common = ["--endpoint", leader.endpoint, "--value-bytes", str(_VALUE_BYTES),
              "--keys", str(keys)]
    subprocess.run([args.bench, "load", *common], check=True, stdout=subprocess.DEVNULL)
    peaks = _Peaks(members)
    load = subprocess.Popen([args.bench, "--op", "put", *common, "--outstanding",
                             str(args.outstanding), "--seconds", "3600", "--json"],
                            stdout=subprocess.DEVNULL)
    try:
        with api.Client(leader.endpoint) as client:
            return _join(cluster, members, leader, client, peaks)
    finally:
        load.kill()
        load.wait()
        peaks.stop()


def _join(cluster, members, leader, client, peaks):
    time.sleep(2)
    peaks.reset()
    rate = _Rate(client)
    time.sleep(_BEFORE_SECONDS)
    before, sender_before = rate.since(), peaks.mib[leader]
    joiner = cluster.joiner()
    client.MemberAdd(api.message("MemberAddRequest")(peerURLs=[joiner.peer_url], isLearner=True),
                     timeout=10)
    members.append(joiner)
    peaks.reset()
    rate.mark()
    began = time.monotonic()
    joiner.launch()
    joiner.wait_for_log(_APPLIED, seconds=600)
    took, during = time.monotonic() - began, rate.since()
    sender, receiver = peaks.mib[leader], peaks.mib[joiner]
    print("applied; the joiner catches up", file=sys.stderr)
    rate.mark()
    time.sleep(_BEFORE_SECONDS)
    after = rate.since()
    return {"puts per second before": before, "puts per second during the transfer": during,
            "ratio": during / before, "puts per second with three members": after,
            "transfer, s": took, "sender's memory before, MiB": sender_before,
            "sender's peak, MiB": sender, "receiver's peak, MiB": receiver}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--outstanding", type=int, default=64)
    parser.add_argument("--etcdd", default=os.path.join(_ROOT, "build/release/cmd/etcdd/etcdd"))
    parser.add_argument("--bench", default=os.path.join(
        _ROOT, "build/release/cmd/etcdd-bench/etcdd-bench"))
    parser.add_argument("--dir", default="/var/tmp")
    args = parser.parse_args()
    tempfile.tempdir = args.dir
    os.environ["ETCDD_BINARY"] = args.etcdd
    cluster = member.Cluster(2, "--quota-backend-bytes", str(16 << 30))
    try:
        measured = _measure(args, cluster, list(cluster.members))
    finally:
        cluster.stop()
    print(json.dumps(measured), file=sys.stderr)
    print("| measured | |\n|---|---|")
    for name, value in measured.items():
        print(f"| {name} | {value:.2f} |" if name == "ratio" else f"| {name} | {value:,.0f} |")


if __name__ == "__main__":
    main()
