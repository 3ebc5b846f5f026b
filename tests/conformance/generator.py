"""Seeded random requests. The same seed and the same answers give the same requests.

Requests on which etcd 3.4.23 is known to die are never made here (error_vectors.py sends them to
etcdd alone), nor those that 3.4.23 executes and 3.7 refuses, which would part the two stores.
"""

import random

import shapes
import wire

rpc = wire.rpc


class Action:
    """One step. kind: unary, keepalive, watch, cancel, end_stream, restart or sync."""

    def __init__(self, kind, name="", request=None, stream=0):
        self.kind = kind
        self.name = name
        self.request = request
        self.stream = stream

    def __str__(self):
        on_stream = self.kind in ("watch", "cancel", "end_stream")
        where = f" on stream {self.stream}" if on_stream else ""
        body = "" if self.request is None else "\n" + wire.show(self.request)
        return f"{self.kind} {self.name}{where}{body}"


class Store:
    """What the generator believes of the store, from the reference's answers."""

    def __init__(self):
        self.revision = 1
        self.compacted = -1
        self.leases = set()
        self.nospace = False


class Generator:
    STREAMS = 3
    _ALARM_MEMBER = 7  # Any id is accepted (MAINT-002); real ones differ between the two.

    def __init__(self, seed):
        self._random = random.Random(seed)
        self.store = Store()
        self._shapes = shapes.Shapes(self._random, self.store)
        self._queued = []
        self._active_watches = {stream: set() for stream in range(self.STREAMS)}
        self._kinds = [
            (24, self._put), (22, self._range), (7, self._delete), (22, self._txn),
            (5, self._grant), (2, self._revoke), (2, self._time_to_live), (1, self._leases),
            (2, self._keepalive), (1.6, self._compact), (0.4, self._compact_hashed),
            (6, self._watch), (2, self._cancel_watch), (0.4, self._end_stream),
            (1.5, self._hash_kv), (0.5, self._alarm), (0.6, self._other),
            (0.6, self._malformed), (0.15, self._oversized), (0.1, self._restart)]

    def next(self):
        """The next step, given what learn() was told of all former ones."""
        if self._queued:
            return self._queued.pop(0)
        weights = [weight for weight, _ in self._kinds]
        _, make = self._random.choices(self._kinds, weights)[0]
        return make()

    def in_sequence(self):
        """Whether steps that belong to former ones are still to come."""
        return bool(self._queued)

    def learn(self, action, answer):
        """Takes note of the reference's answer to a unary step."""
        if not answer.ok:
            return
        request, store = action.request, self.store
        header = getattr(answer.reply, "header", None)
        if header is not None and header.revision:
            store.revision = header.revision
        if isinstance(request, rpc.CompactionRequest):
            store.compacted = request.revision
        elif isinstance(request, rpc.LeaseGrantRequest):
            store.leases.add(answer.reply.ID)
        elif isinstance(request, rpc.LeaseRevokeRequest):
            store.leases.discard(request.ID)
        elif isinstance(request, rpc.AlarmRequest) and request.action != rpc.AlarmRequest.GET:
            if request.alarm == rpc.NOSPACE:
                store.nospace = request.action == rpc.AlarmRequest.ACTIVATE

    def learn_watch(self, stream, watch_id, active):
        """A watch was created or is gone."""
        if active:
            self._active_watches[stream].add(watch_id)
        else:
            self._active_watches[stream].discard(watch_id)

    def is_active(self, stream, watch_id):
        return watch_id in self._active_watches[stream]

    def learn_end_of_stream(self, stream):
        self._active_watches[stream].clear()

    def learn_restart(self):
        for stream in self._active_watches:
            self.learn_end_of_stream(stream)

    # Steps

    def _put(self):
        return Action("unary", "Put", self._shapes.put())

    def _range(self):
        return Action("unary", "Range", self._shapes.range(allow_unknown_order=True))

    def _delete(self):
        return Action("unary", "DeleteRange", self._shapes.delete())

    def _txn(self):
        while True:
            txn = self._shapes.txn()
            if shapes.kills_reference(txn):
                continue
            if self.store.nospace and shapes.passes_only_3_4_quota(txn):
                continue
            return Action("unary", "Txn", txn)

    def _grant(self):
        ttl = self._random.choice([100, 300, 5000, 9_000_000_000, 9_000_000_001, 1, 0, -5])
        lease = self._shapes.lease_id() or 1  # Ids chosen by the server cannot be the same.
        if ttl < 100 and lease not in self.store.leases:
            # Gone again before it can expire, at a moment that nobody controls.
            self._queued.append(Action("unary", "LeaseRevoke", rpc.LeaseRevokeRequest(ID=lease)))
        return Action("unary", "LeaseGrant", rpc.LeaseGrantRequest(TTL=ttl, ID=lease))

    def _revoke(self):
        request = rpc.LeaseRevokeRequest(ID=self._shapes.lease_id())
        return Action("unary", "LeaseRevoke", request)

    def _time_to_live(self):
        request = rpc.LeaseTimeToLiveRequest(ID=self._shapes.lease_id(),
                                             keys=self._random.random() < 0.7)
        return Action("unary", "LeaseTimeToLive", request)

    def _leases(self):
        return Action("unary", "LeaseLeases", rpc.LeaseLeasesRequest())

    def _keepalive(self):
        return Action("keepalive", "LeaseKeepAlive",
                      rpc.LeaseKeepAliveRequest(ID=self._shapes.lease_id()))

    def _compact(self):
        self._queued.append(Action("unary", "Compact", rpc.CompactionRequest(
            revision=self._shapes.compact_revision(), physical=self._random.random() < 0.5)))
        return Action("sync")  # No watch may be behind: how far differs from server to server.

    def _compact_hashed(self):
        """Compacts to a revision whose hash is known (MAINT-029): first all removal is made to
        finish, since a compaction stores its hash only then."""
        store = self.store
        if store.revision - store.compacted < 5:
            return self._put()
        first = self._random.randint(max(store.compacted, 0) + 1, store.revision - 1)
        second = self._random.randint(first + 1, store.revision)
        self._queued += [
            Action("unary", "Compact", rpc.CompactionRequest(revision=first, physical=True)),
            Action("unary", "HashKV", rpc.HashKVRequest(revision=second)),
            Action("unary", "Range", rpc.RangeRequest(
                key=b"\0", range_end=b"\0", revision=second, count_only=True)),
            Action("unary", "Compact", rpc.CompactionRequest(revision=second, physical=True)),
            Action("unary", "HashKV", rpc.HashKVRequest(revision=second))]
        return Action("sync")

    def _restart(self):
        self._queued.append(Action("restart"))
        self._queued += [Action("unary", "HashKV", rpc.HashKVRequest()), self._leases(),
                         Action("unary", "Alarm", rpc.AlarmRequest()),
                         Action("unary", "MemberList", rpc.MemberListRequest())]
        return Action("sync")

    def _watch(self):
        stream = self._random.randrange(self.STREAMS)
        request = self._shapes.watch(sorted(self._active_watches[stream]))
        return Action("watch", "Watch", request, stream)

    def _cancel_watch(self):
        stream = self._random.randrange(self.STREAMS)
        active = sorted(self._active_watches[stream])
        if not active or self._random.random() < 0.1:
            watch_id = 12345  # Unknown: no answer is due.
        else:
            watch_id = self._random.choice(active)
        request = rpc.WatchCancelRequest(watch_id=watch_id)
        self._queued.append(Action("cancel", "Watch", request, stream))
        return Action("sync")

    def _end_stream(self):
        self._queued.append(Action("end_stream", stream=self._random.randrange(self.STREAMS)))
        return Action("sync")

    def _hash_kv(self):
        store = self.store
        revision = self._random.choice([
            0, 0, -4, store.revision, store.revision + 1, store.compacted, store.compacted - 1,
            self._random.randint(max(store.compacted, 1), store.revision)])
        return Action("unary", "HashKV", rpc.HashKVRequest(revision=revision))

    def _alarm(self):
        alarm = {"memberID": self._random.choice([0, self._ALARM_MEMBER]), "alarm": rpc.NOSPACE}
        unknown = {"memberID": self._ALARM_MEMBER, "alarm": 9}  # Listed, without effect.

        def request(action, **fields):
            return Action("unary", "Alarm", rpc.AlarmRequest(action=action, **fields))

        kinds = [self._put, self._txn, self._grant, self._revoke, self._range, self._delete]
        self._queued.append(request(rpc.AlarmRequest.ACTIVATE, **alarm))
        if self._random.random() < 0.3:
            self._queued.append(request(rpc.AlarmRequest.ACTIVATE, **unknown))
        self._queued.append(Action("unary", "Status", rpc.StatusRequest()))
        self.store.nospace = True  # Already for the requests made now.
        for _ in range(self._random.randint(1, 8)):
            self._queued.append(self._random.choice(kinds)())
        self.store.nospace = False
        self._queued.append(request(rpc.AlarmRequest.GET))
        self._queued.append(request(rpc.AlarmRequest.GET, alarm=rpc.NOSPACE))
        self._queued.append(request(rpc.AlarmRequest.GET, alarm=rpc.CORRUPT))
        self._queued.append(request(rpc.AlarmRequest.DEACTIVATE, memberID=1, alarm=rpc.NOSPACE))
        self._queued.append(request(rpc.AlarmRequest.DEACTIVATE, **unknown))
        self._queued.append(request(rpc.AlarmRequest.DEACTIVATE, **alarm))
        self._queued.append(request(rpc.AlarmRequest.DEACTIVATE, **alarm))
        return request(rpc.AlarmRequest.GET)

    def _other(self):
        name, request = self._random.choice([
            ("Status", rpc.StatusRequest()), ("Hash", rpc.HashRequest()),
            ("Defragment", rpc.DefragmentRequest()), ("MemberList", rpc.MemberListRequest()),
            ("MoveLeader", rpc.MoveLeaderRequest(targetID=5)),
            ("/etcdserverpb.KV/Nope", b""), ("/nope.X/Y", b"")])
        return Action("unary", name, request)

    def _malformed(self):
        if self._random.random() < 0.2:  # Well formed, with fields nobody knows: they are skipped.
            name = self._random.choice(["Range", "Put", "DeleteRange"])
            return Action("unary", name, b"\x0a\x01k" + self._random.choice([
                b"\xfb\x07\xfc\x07", b"\xf8\x07\x01", b"\xf9\x07" + bytes(8), b"\xfa\x07\x01z"]))
        name = self._random.choice(["Range", "Put", "DeleteRange", "Txn", "Compact", "LeaseGrant",
                                    "LeaseRevoke", "HashKV", "Alarm"])
        return Action("unary", name, self._random.choice([
            b"\xff\xff\xff", b"\x0a\x05ab", b"\x0a", b"\x0b", b"\x0c", b"\x0f\x00", b"\x00",
            b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", b"\x08" + b"\xff" * 10]))

    def _oversized(self):
        size = self._random.choice([1572000, 1572864, 1573000, 2097152 - 8, 2097152, 3000000])
        put = rpc.PutRequest(key=b"big", value=b"x" * size)
        if self._random.random() < 0.3:
            half = rpc.PutRequest(key=b"big2", value=b"y" * (size // 2))
            put.value = put.value[:size // 2]
            return Action("unary", "Txn", rpc.TxnRequest(success=[
                rpc.RequestOp(request_put=put), rpc.RequestOp(request_put=half)]))
        return Action("unary", "Put", put)
