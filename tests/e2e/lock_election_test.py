"""The lock and election services: one script of calls to etcdd and to the installed etcd, whose
answers must be the same; and what etcd does not do."""

import queue
import threading
import unittest

import grpc

import api
import member
from case import MemberTest

_PATIENCE = member.PATIENCE_SECONDS
# Where 3.4 answers otherwise than the 3.7 that etcdd follows: the step, and both answers.
_KNOWN = {
    "waiter whose lease was revoked": ("OK", "UNKNOWN mutex: session is expired"),
}


class Observed:
    """The answers of an Observe stream, read in the background."""

    def __init__(self, client, name):
        self.call = client.Observe(api.LeaderRequest(name=name), timeout=_PATIENCE)
        self._replies = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        try:
            for reply in self.call:
                self._replies.put(reply)
        except grpc.RpcError:
            pass  # cancelled at the end

    def next(self):
        return self._replies.get(timeout=_PATIENCE)


class Script:
    """Calls to one server, and their answers as lines of text."""

    def __init__(self, client):
        self.client = client
        self.lines = []
        self.running = []

    def note(self, step, text):
        self.lines.append((step, text))

    def call(self, step, method, request):
        """Notes the answer and returns it, None for an error."""
        return self.answer(step, method.future(request, timeout=_PATIENCE))

    def answer(self, step, future):
        try:
            reply = future.result()
        except grpc.RpcError as error:
            self.note(step, f"{error.code().name} {error.details()}")
            return None
        self.note(step, f"OK {self.masked(reply)}")
        return reply

    @staticmethod
    def masked(reply):
        shown = type(reply)()
        shown.CopyFrom(reply)
        if shown.HasField("header"):
            shown.header.raft_term = 0
        return str(shown).replace("\n", " ").strip()

    def keys(self, step, prefix):
        reply = self.client.get(prefix, range_end=api.prefix_end(prefix))
        self.note(step, self.masked(reply))
        return [kv.key for kv in reply.kvs]

    def until_keys(self, prefix, count):
        """Waits until so many keys begin with this."""
        late = member.deadline()
        while len(self.client.get(prefix, range_end=api.prefix_end(prefix)).kvs) != count:
            assert not late(), f"never {count} keys under {prefix}"

    def begin(self, method, request, prefix, count):
        """Starts a call that waits in a queue; returns once the queue is so long."""
        future = method.future(request, timeout=_PATIENCE)
        self.until_keys(prefix, count)
        assert not future.done()
        return future

    def run(self):
        for lease in (0x10, 0x20, 0x30, 0x40, -0x50):
            self.client.grant(1000, lease)
        for part in (self.locks, self.lock_errors, self.lost_locks, self.campaigns,
                     self.proclaims, self.observers, self.own_leases):
            part()
        return self.lines

    def locks(self):
        lock, unlock = self.client.Lock, self.client.Unlock
        self.call("first lock", lock, api.LockRequest(name=b"l", lease=0x10))
        self.call("again with the lease", lock, api.LockRequest(name=b"l", lease=0x10))
        second = self.begin(lock, api.LockRequest(name=b"l", lease=0x20), b"l/", 2)
        third = self.begin(lock, api.LockRequest(name=b"l", lease=0x30), b"l/", 3)
        self.keys("queue", b"l/")
        self.call("first unlock", unlock, api.UnlockRequest(key=b"l/10"))
        self.answer("second lock", second)
        third.cancel()
        self.until_keys(b"l/", 1)
        self.call("lock of another name", lock, api.LockRequest(name=b"l2", lease=0x30))
        self.call("negative lease", lock, api.LockRequest(name=b"n", lease=-0x50))
        # All earlier keys must go, not only the holder's.
        third = self.begin(lock, api.LockRequest(name=b"l", lease=0x30), b"l/", 2)
        fourth = self.begin(lock, api.LockRequest(name=b"l", lease=0x40), b"l/", 3)
        self.call("unlock of a waiter", unlock, api.UnlockRequest(key=b"l/30"))
        self.client.put(b"l/20", b"changed", lease=0x20)
        # No compaction here: etcd's waiter fails then, ours reads again.
        assert not fourth.done()
        self.client.LeaseRevoke(api.LeaseRevokeRequest(ID=0x20), timeout=_PATIENCE)
        third.exception()
        self.answer("fourth lock", fourth)
        self.keys("fourth alone", b"l/")
        self.call("last unlock", unlock, api.UnlockRequest(key=b"l/40"))
        self.call("unlock of nothing", unlock, api.UnlockRequest(key=b"l/40"))
        self.call("empty name", lock, api.LockRequest(lease=0x40))
        self.call("unlock of the empty name", unlock, api.UnlockRequest(key=b"/40"))

    def lock_errors(self):
        self.call("unknown lease", self.client.Lock, api.LockRequest(name=b"m", lease=0x4242))
        self.call("unlock without key", self.client.Unlock, api.UnlockRequest())
        self.call("campaign, unknown lease", self.client.Campaign,
                  api.CampaignRequest(name=b"m", lease=0x4242, value=b"v"))
        self.call("huge value", self.client.Campaign,
                  api.CampaignRequest(name=b"m", lease=0x40, value=bytes(1572864)))
        self.keys("nothing of them", b"m/")

    def lost_locks(self):
        self.client.grant(1000, 0x60)
        self.call("holder", self.client.Lock, api.LockRequest(name=b"w", lease=0x40))
        waiter = self.begin(self.client.Lock, api.LockRequest(name=b"w", lease=0x60), b"w/", 2)
        self.client.LeaseRevoke(api.LeaseRevokeRequest(ID=0x60), timeout=_PATIENCE)
        assert not waiter.done(), "not before the earlier keys are gone"
        self.call("holder leaves", self.client.Unlock, api.UnlockRequest(key=b"w/40"))
        self.answer("waiter whose lease was revoked", waiter)

    def campaigns(self):
        campaign = self.client.Campaign
        self.call("no leader", self.client.Leader, api.LeaderRequest(name=b"e"))
        first = self.call("first campaign", campaign,
                          api.CampaignRequest(name=b"e", lease=0x10, value=b"one"))
        self.call("leader", self.client.Leader, api.LeaderRequest(name=b"e"))
        self.call("the same campaign", campaign,
                  api.CampaignRequest(name=b"e", lease=0x10, value=b"one"))
        self.call("another value", campaign,
                  api.CampaignRequest(name=b"e", lease=0x10, value=b"two"))
        self.call("new value", self.client.Leader, api.LeaderRequest(name=b"e"))
        second = self.begin(campaign, api.CampaignRequest(name=b"e", lease=0x30, value=b"three"),
                            b"e/", 2)
        third = self.begin(campaign, api.CampaignRequest(name=b"e", lease=0x40, value=b"four"),
                           b"e/", 3)
        self.client.put(b"other", b"")
        third.cancel()
        self.until_keys(b"e/", 2)
        self.call("resign", self.client.Resign, api.ResignRequest(leader=first.leader))
        self.answer("second campaign", second)
        self.call("resign again", self.client.Resign, api.ResignRequest(leader=first.leader))
        self.keys("second alone", b"e/")
        self.client.grant(1000, 0x70)
        fourth = self.begin(campaign, api.CampaignRequest(name=b"e", lease=0x70, value=b"five"),
                            b"e/", 2)
        self.client.LeaseRevoke(api.LeaseRevokeRequest(ID=0x70), timeout=_PATIENCE)
        self.client.delete(b"e/30")
        self.answer("candidate whose lease was revoked", fourth)

    def proclaims(self):
        proclaim, resign = self.client.Proclaim, self.client.Resign
        leader = self.call("campaign", self.client.Campaign,
                           api.CampaignRequest(name=b"p", lease=0x10, value=b"one")).leader
        self.call("proclaim", proclaim, api.ProclaimRequest(leader=leader, value=b"two"))
        self.keys("proclaimed", b"p/")
        other = api.LeaderKey(name=b"p", key=leader.key, rev=leader.rev + 1, lease=leader.lease)
        self.call("wrong revision", proclaim, api.ProclaimRequest(leader=other, value=b"x"))
        self.call("resign, wrong revision", resign, api.ResignRequest(leader=other))
        self.call("no leader field", proclaim, api.ProclaimRequest(value=b"x"))
        self.call("resign, no leader field", resign, api.ResignRequest())
        empty = api.LeaderKey(name=b"p", rev=0, lease=0x10)
        self.call("no key", proclaim, api.ProclaimRequest(leader=empty, value=b"x"))
        self.call("resign, no key", resign, api.ResignRequest(leader=empty))
        gone = api.LeaderKey(name=b"p", key=leader.key, rev=leader.rev, lease=0x4242)
        self.call("unknown lease", proclaim, api.ProclaimRequest(leader=gone, value=b"x"))
        moved = api.LeaderKey(name=b"p", key=leader.key, rev=leader.rev, lease=0x30)
        self.call("another lease", proclaim, api.ProclaimRequest(leader=moved, value=b"three"))
        self.keys("moved to another lease", b"p/")
        self.call("resign", resign, api.ResignRequest(leader=leader))
        self.call("proclaim when gone", proclaim,
                  api.ProclaimRequest(leader=leader, value=b"x"))

    def observers(self):
        observed = Observed(self.client, b"o")

        def shown(step):
            reply = observed.next()
            self.note(step, self.masked(reply))
        first = self.call("campaign", self.client.Campaign,
                          api.CampaignRequest(name=b"o", lease=0x10, value=b"one"))
        shown("observed")
        for value in (b"two", b"three"):
            self.call("proclaim", self.client.Proclaim,
                      api.ProclaimRequest(leader=first.leader, value=value))
            shown("observed")
        second = self.begin(self.client.Campaign,
                            api.CampaignRequest(name=b"o", lease=0x30, value=b"four"), b"o/", 2)
        self.client.compact(self.client.status().header.revision)
        self.call("resign", self.client.Resign, api.ResignRequest(leader=first.leader))
        self.answer("second", second)
        shown("observed")
        late = Observed(self.client, b"o")
        self.note("a late observer", self.masked(late.next()))
        for each in (observed, late):
            each.call.cancel()

    def own_leases(self):
        """Lease 0 (LOCK-001); ids are random."""
        before = self.client.leases()
        lock = self.client.Lock(api.LockRequest(name=b"z"), timeout=_PATIENCE)
        leader = self.client.Campaign(api.CampaignRequest(name=b"y", value=b"v"),
                                      timeout=_PATIENCE).leader
        granted = self.client.leases() - before
        self.note("leases granted", len(granted))
        self.note("key of the lock", lock.key in {b"z/%x" % lease for lease in granted})
        self.note("key of the leader", leader.key == b"y/%x" % leader.lease)
        ttls = {self.client.LeaseTimeToLive(api.LeaseTimeToLiveRequest(ID=lease)).grantedTTL
                for lease in granted}
        self.note("time to live", ttls)
        before = self.client.leases()
        leader.lease = 0
        self.client.Proclaim(api.ProclaimRequest(leader=leader, value=b"w"), timeout=_PATIENCE)
        kv = self.client.get(leader.key).kvs[0]
        self.note("proclaimed with a lease of its own", kv.lease in self.client.leases() - before)


class LockElectionTest(MemberTest):
    maxDiff = None

    @unittest.skipUnless(member.installed("etcd"), "etcd is not installed")
    def test_same_answers_as_etcd(self):
        answers = []
        for each in (member.StockEtcd(), self.member()):
            self.addCleanup(each.stop)
            answers.append(Script(self.client(each.start())).run())
        stock, ours = answers
        for i, (step, text) in enumerate(stock):
            if step in _KNOWN:
                begin, expected = _KNOWN[step]
                self.assertTrue(text.startswith(begin), f"{step}: {text}")
                stock[i] = (step, expected)
        self.assertEqual(stock, ours)

    def test_waiter_whose_time_is_up_leaves_the_queue(self):
        client = self.client(self.member().start())
        for lease in (1, 2):
            client.grant(1000, lease)
        client.Lock(api.LockRequest(name=b"l", lease=1), timeout=_PATIENCE)
        with self.assertRaises(grpc.RpcError) as caught:
            client.Lock(api.LockRequest(name=b"l", lease=2), timeout=0.5)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
        Script(client).until_keys(b"l/", 1)
        self.assertEqual(client.leases(), {1, 2})

    def test_a_lost_connection_leaves_the_queue(self):
        one = self.member().start()
        client = self.client(one)
        for lease in (1, 2):
            client.grant(1000, lease)
        client.Campaign(api.CampaignRequest(name=b"e", lease=1, value=b"v"), timeout=_PATIENCE)
        other = self.client(one)
        Script(other).begin(other.Campaign,
                            api.CampaignRequest(name=b"e", lease=2, value=b"w"), b"e/", 2)
        other.close()
        Script(client).until_keys(b"e/", 1)

    def test_locks_exclude_each_other_on_all_members(self):
        """Each of nine contenders on three members holds the lock once; no two at a time."""
        cluster = member.Cluster(3)
        self.addCleanup(cluster.stop)
        cluster.start()
        holders, most = [], []
        guard = threading.Lock()
        revisions = []

        def contend(endpoint, lease):
            with api.Client(endpoint, timeout_seconds=_PATIENCE) as client:
                client.grant(1000, lease)
                held = client.Lock(api.LockRequest(name=b"l", lease=lease), timeout=_PATIENCE)
                with guard:
                    holders.append(lease)
                    most.append(len(holders))
                    revisions.append(held.header.revision)
                client.put(b"x", b"")
                with guard:
                    holders.remove(lease)
                client.Unlock(api.UnlockRequest(key=held.key), timeout=_PATIENCE)
        threads = [threading.Thread(target=contend,
                                    args=(cluster.members[i % 3].endpoint, i + 1))
                   for i in range(9)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(_PATIENCE)
        self.assertEqual(most, [1] * 9)
        self.assertEqual(revisions, sorted(set(revisions)))  # LOCK-004


if __name__ == "__main__":
    unittest.main()
