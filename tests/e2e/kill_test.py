"""Nothing that was acknowledged is lost, whenever the process is killed.

Several clients write; at a random moment the member is killed with SIGKILL and started again on
its data. After every start the test reads the whole new history through a watch and holds it
against what each client sent: an acknowledged request is there with its revision and its exact
events; a request without an answer is there as a whole or not at all; nothing else is there;
revisions are without gaps and never go back. Leases are held against the lease list.

At the end the history is played, revision by revision, into a fresh member (and into stock etcd
where it is installed), and the HashKV of all of them must agree.

  kill_test.py [--rounds N] [--seed S]
"""

import argparse
import random
import sys
import threading
import time

import grpc

import api
import member

CLIENTS = 3
SLOTS_PER_CLIENT = 6          # requests each client has outstanding
SNAPSHOT_COUNT = 500          # entries; a few rounds' worth
BIG_VALUE_BYTES = 400 << 10   # now and then, so that WAL segments fill up and are released
LEASE_TTL_SECONDS = 9000      # longer than any test: only a revoke ends one
ROUND_SECONDS = (0.02, 0.25)  # the kill comes this long after the load began

_SAFE_CODES = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


class Slot:
    """One sequential client: its own keys, at most one request in flight.

    state: key -> (value, lease) as of the last request known to have happened. waiting: the request
    in flight as (kind, events, lease id), events = [(key, value or None for a delete, lease)].
    """

    def __init__(self, name, number, rng):
        self.prefix = f"{name}/".encode()
        self.rng = rng
        self.next_lease = (number + 1) << 32
        self.state = {}
        self.lease = 0            # the one lease this slot holds, 0: none
        self.count = 0
        self.acknowledged = []    # (revision, events) since the last check
        self.waiting = None

    def key(self, letter):
        return self.prefix + letter.encode()

    def fresh_value(self):
        self.count += 1
        value = self.prefix + str(self.count).encode()
        if self.rng.random() < 0.01:
            value = value.ljust(BIG_VALUE_BYTES, b".")
        return value

    def begin(self, client):
        """Sends the next request; returns its future."""
        kind = self.rng.choices(["put", "txn", "delete", "lease"], [5, 4, 1, 2])[0]
        return getattr(self, "_begin_" + kind)(client)

    def _begin_put(self, client):
        lease = self.lease if self.rng.random() < 0.5 else 0
        key, value = self.key(self.rng.choice("ab")), self.fresh_value()
        self.waiting = ("put", [(key, value, lease)], 0)
        return client.Put.future(api.PutRequest(key=key, value=value, lease=lease), timeout=30)

    def _begin_txn(self, client):
        """Compares with what must be there, so the success side must be taken."""
        ops, events, compare = [], [], []
        for letter in "abc":
            key = self.key(letter)
            if key in self.state:
                compare.append(api.Compare(key=key, target=3, result=0, value=self.state[key][0]))
            else:
                compare.append(api.Compare(key=key, target=1, result=0, create_revision=0))
        for letter in self.rng.sample("abcd", self.rng.randrange(2, 5)):
            key = self.key(letter)
            if key in self.state and self.rng.random() < 0.3:
                ops.append(api.RequestOp(request_delete_range={"key": key}))
                events.append((key, None, 0))
            else:
                value = self.fresh_value()
                ops.append(api.RequestOp(request_put={"key": key, "value": value}))
                events.append((key, value, 0))
        self.waiting = ("txn", events, 0)
        return client.Txn.future(api.TxnRequest(compare=compare, success=ops), timeout=30)

    def _begin_delete(self, client):
        events = [(key, None, 0) for key in sorted(self.state)]
        self.waiting = ("delete", events, 0)
        request = api.DeleteRangeRequest(key=self.prefix, range_end=api.prefix_end(self.prefix))
        return client.DeleteRange.future(request, timeout=30)

    def _begin_lease(self, client):
        if self.lease == 0:
            self.next_lease += 1
            self.waiting = ("grant", [], self.next_lease)
            return client.LeaseGrant.future(
                api.LeaseGrantRequest(TTL=LEASE_TTL_SECONDS, ID=self.next_lease), timeout=30)
        events = [(key, None, 0) for key in sorted(self.state)
                  if self.state[key][1] == self.lease]
        self.waiting = ("revoke", events, self.lease)
        return client.LeaseRevoke.future(api.LeaseRevokeRequest(ID=self.lease), timeout=30)

    def finish(self, reply):
        """The request in flight was acknowledged with this reply."""
        kind, events, lease = self.waiting
        assert kind != "txn" or reply.succeeded, f"{self.prefix}: txn took the other side"
        self.waiting = None
        if events:
            self.acknowledged.append((reply.header.revision, events))
        self._apply(kind, events, lease)

    def _apply(self, kind, events, lease):
        for key, value, attached in events:
            if value is None:
                self.state.pop(key, None)
            else:
                self.state[key] = (value, attached)
        if kind == "grant":
            self.lease = lease
        elif kind == "revoke":
            self.lease = 0

    def check(self, history, leases):
        """Holds the new history of this slot's keys, [(revision, events)], against what was sent,
        and settles the request without an answer."""
        answered, open_request = self.acknowledged, self.waiting
        self.acknowledged, self.waiting = [], None
        known = history[:len(answered)]
        assert known == answered, f"{self.prefix}: acknowledged {answered}, found {known}"
        rest = history[len(answered):]
        if open_request is None:
            assert not rest, f"{self.prefix}: never sent: {rest}"
        else:
            kind, events, lease = open_request
            if kind in ("grant", "revoke"):
                happened = (lease in leases) == (kind == "grant")
                assert bool(rest) == (happened and bool(events)), (
                    f"{self.prefix}: {kind} of {lease} by half: {rest}")
            else:
                happened = bool(rest)
            if rest:
                assert [events for _, events in rest] == [events], (
                    f"{self.prefix}: sent {events}, found {rest}")
            if happened:
                self._apply(kind, events, lease)
        assert {lease for lease in leases if lease >> 32 == self.next_lease >> 32} == (
            {self.lease} if self.lease else set()), f"{self.prefix}: leases {leases}"


class Load:
    """Clients that keep all their slots busy until the member is gone."""

    def __init__(self, endpoint, slots):
        self.failures = []
        self.acknowledged = 0
        share = [slots[i::CLIENTS] for i in range(CLIENTS)]
        self.threads = [threading.Thread(target=self._run, args=(endpoint, part))
                        for part in share]
        for thread in self.threads:
            thread.start()

    def _run(self, endpoint, slots):
        try:
            with api.Client(endpoint) as client:
                alive = True
                while alive:
                    for slot, call in [(slot, slot.begin(client)) for slot in slots]:
                        try:
                            slot.finish(call.result())
                            self.acknowledged += 1
                        except grpc.RpcError as error:
                            assert error.code() in _SAFE_CODES, error
                            alive = False
        except BaseException as error:  # pylint: disable=broad-except
            self.failures.append(error)

    def join(self):
        for thread in self.threads:
            thread.join()
        if self.failures:
            raise self.failures[0]


class History:
    """All revisions seen so far, and the rules every one of them must keep."""

    def __init__(self):
        self.revisions = []   # (revision, events)
        self.keys = {}        # key -> (create revision, version) of the living

    def read_on(self, client):
        """Reads what is new, checks it for itself, and returns it."""
        current = client.get(b"\0").header.revision
        last = self.last()
        assert current >= last, f"revision went back from {last} to {current}"
        new = client.history(last + 1, current)
        assert [revision for revision, _ in new] == list(range(last + 1, current + 1)), (
            f"gaps between {last} and {current}")
        for revision, events in new:
            for event in events:
                self._check(revision, event)
        self.revisions += new
        return new

    def last(self):
        return self.revisions[-1][0] if self.revisions else 1

    def _check(self, revision, event):
        kv = event.kv
        if event.type == 1:
            assert self.keys.pop(kv.key, None), f"{revision}: {kv.key} deleted, was not there"
            return
        create, version = self.keys.get(kv.key, (revision, 0))
        self.keys[kv.key] = (create, version + 1)
        assert (kv.create_revision, kv.version) == self.keys[kv.key], f"{revision}: {kv.key}"


def as_sent(events):
    return [(event.kv.key, None if event.type == 1 else event.kv.value, event.kv.lease)
            for event in events]


def check_round(client, history, slots):
    leases = client.leases()
    by_prefix = {slot.prefix: [] for slot in slots}
    for revision, events in history.read_on(client):
        owners = {event.kv.key[:event.kv.key.index(b"/") + 1] for event in events}
        assert len(owners) == 1, f"revision {revision} mixes requests: {owners}"
        by_prefix[owners.pop()].append((revision, as_sent(events)))
    for slot in slots:
        slot.check(by_prefix[slot.prefix], leases)
    live = {kv.key: (kv.value, kv.lease) for kv in
            client.get(b"\0", range_end=b"\0").kvs}
    wanted = {key: pair for slot in slots for key, pair in slot.state.items()}
    assert live == wanted, "the keys of now differ from the history's outcome"


def replay(history, target):
    """Plays the history into a fresh member as one transaction a revision."""
    granted = set()
    with api.Client(target.endpoint) as client:
        for revision, events in history.revisions:
            ops = []
            for event in events:
                kv = event.kv
                if event.type == 1:
                    ops.append(api.RequestOp(request_delete_range={"key": kv.key}))
                    continue
                if kv.lease and kv.lease not in granted:
                    client.grant(LEASE_TTL_SECONDS, kv.lease)
                    granted.add(kv.lease)
                ops.append(api.RequestOp(
                    request_put={"key": kv.key, "value": kv.value, "lease": kv.lease}))
            reply = client.txn(ops)
            assert reply.header.revision == revision
        return client.hash_kv(history.last()).hash


def check_hash(victim, history):
    with api.Client(victim.endpoint) as client:
        got = client.hash_kv(history.last()).hash
    with member.Member("--unsafe-no-fsync") as fresh:
        assert replay(history, fresh.start()) == got, (
            "HashKV differs from an uninterrupted member's")
    if member.installed("etcd"):
        with member.StockEtcd("--unsafe-no-fsync") as stock:
            assert replay(history, stock.start()) == got, "HashKV differs from etcd's"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    args = parser.parse_args()
    print(f"seed {args.seed}, {args.rounds} rounds", flush=True)
    rng = random.Random(args.seed)
    slots = [Slot(f"s{i:02}", i, random.Random(rng.random()))
             for i in range(CLIENTS * SLOTS_PER_CLIENT)]
    history, snapshots, acknowledged = History(), 0, 0
    begin = time.monotonic()
    victim = member.Member("--snapshot-count", str(SNAPSHOT_COUNT),
                           "--snapshot-catchup-entries", "100")
    try:
        for _ in range(args.rounds):
            victim.start()
            with api.Client(victim.endpoint) as client:
                check_round(client, history, slots)
            load = Load(victim.endpoint, slots)
            time.sleep(rng.uniform(*ROUND_SECONDS))
            victim.kill()
            load.join()
            acknowledged += load.acknowledged
            snapshots += victim.messages().count("saved snapshot")
            assert not victim.errors(), victim.errors()
        victim.start()
        with api.Client(victim.endpoint) as client:
            check_round(client, history, slots)
        segments = [path.rsplit("/", 1)[1] for path in victim.wal_segments()]
        print(f"{acknowledged} acknowledged, revision {history.last()}, {snapshots} snapshots, "
              f"segments {segments}, {time.monotonic() - begin:.0f} s", flush=True)
        check_hash(victim, history)
        assert args.rounds < 100 or snapshots >= 5, "too few snapshots were taken to prove anything"
    except BaseException:
        print(victim.log_text()[-4000:], file=sys.stderr)
        raise
    finally:
        victim.stop()
    print(f"ok, {time.monotonic() - begin:.0f} s")


if __name__ == "__main__":
    main()
