"""Clients of a cluster under chaos: they record what they were told, and watchers what they saw.

  with chaos.Load(cluster.members, seed=1) as load:
      ...                                     # kill, pause, cut
      load.progress(100)                      # until 100 more writes were acknowledged
  load.check(log_of_all_events)
"""

import random
import threading
import time

import grpc

import api
import history
import member

KEYS = [b"k%d" % i for i in range(6)]
_WATCHED = dict(key=b"\0", range_end=b"\0")
# A request without a reply after this long counts as lost, and its client goes on elsewhere.
_REQUEST_SECONDS = 2
# Codes after which a write may have happened or not.
_OPEN_CODES = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED,
               grpc.StatusCode.CANCELLED, grpc.StatusCode.UNKNOWN)


class _Wanderer:
    """A thread with one connection at a time; when it fails, the next member's."""

    def __init__(self, number, members, failures):
        self.number = number
        self.members = members   # shared with all others; see Load.joined and left
        self.failures = failures
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._guarded, daemon=True)
        self.client = None
        self.at = None
        self.turn = number

    def connect(self):
        if self.client is None:
            members = list(self.members)
            self.at = members[self.turn % len(members)]
            self.client = api.Client(self.at.endpoint, timeout_seconds=_REQUEST_SECONDS)
        return self.client

    def wander(self):
        if self.client is not None:
            self.client.close()
            self.client = None
        self.turn += 1
        self.stopping.wait(0.02)   # a member that refuses is not asked without end

    def _guarded(self):
        try:
            while not self.stopping.is_set():
                self.step()
        except BaseException as error:  # pylint: disable=broad-except
            self.failures.append(error)
        finally:
            if self.client is not None:
                self.client.close()


class _Client(_Wanderer):
    """One sequential client: random requests on a few keys that all share."""

    def __init__(self, number, members, failures, seed):
        super().__init__(number, members, failures)
        self.rng = random.Random(seed * 1000 + number)
        self.ops = []
        self.count = 0
        self.acknowledged = 0   # writes
        self.known = {}         # key -> mod_revision as last seen, for cas

    def step(self):
        kind = self.rng.choices(["put", "get", "cas", "delete"], [4, 4, 3, 1])[0]
        op = history.Op(self.number, kind, self.rng.choice(KEYS), 0)
        if kind in ("put", "cas"):
            self.count += 1
            op.value = b"%d-%d" % (self.number, self.count)
        if kind == "cas":
            op.expected = self.known.get(op.key, 0)
        client = self.connect()
        op.begin = time.monotonic()
        try:
            reply = send(client, op).result()
        except grpc.RpcError as error:
            if error.code() not in _OPEN_CODES:
                raise
            if kind != "get":
                self.ops.append(op)
            self.wander()
            return
        settle_reply(op, reply, time.monotonic())
        self.ops.append(op)
        if op.writes:
            self.acknowledged += 1
            self.known[op.key] = 0 if kind == "delete" else op.revision
        elif kind != "delete":
            self.known[op.key] = op.found[1] if op.found else 0


def send(client, op, timeout=_REQUEST_SECONDS):
    """Begins the request of an operation; returns its future."""
    if op.kind == "get":
        return client.Range.future(api.RangeRequest(key=op.key), timeout=timeout)
    if op.kind == "put":
        return client.Put.future(api.PutRequest(key=op.key, value=op.value), timeout=timeout)
    if op.kind == "delete":
        return client.DeleteRange.future(api.DeleteRangeRequest(key=op.key), timeout=timeout)
    return client.Txn.future(api.TxnRequest(
        compare=[api.Compare(key=op.key, target=2, result=0, mod_revision=op.expected)],
        success=[api.RequestOp(request_put={"key": op.key, "value": op.value})],
        failure=[api.RequestOp(request_range={"key": op.key})]), timeout=timeout)


def settle_reply(op, reply, end):
    """Writes a reply into its operation."""
    op.end, op.revision = end, reply.header.revision
    kvs = ()
    if op.kind == "get":
        kvs = reply.kvs
    elif op.kind == "delete":
        op.done = reply.deleted > 0
    elif op.kind == "cas":
        op.done = reply.succeeded
        if not op.done:
            kvs = reply.responses[0].response_range.kvs
    if kvs:
        op.found = (kvs[0].value, kvs[0].mod_revision)


class _Watcher(_Wanderer):
    """Sees every event from the first revision on, over all the connections it takes."""

    def __init__(self, number, members, failures):
        super().__init__(number, members, failures)
        self.events = []   # (revision, key, value or None)
        self.last = 1
        self.stream = None

    def step(self):
        try:
            self.stream = api.Stream(self.connect().Watch)
            self.stream.send(api.WatchRequest(
                create_request=dict(_WATCHED, start_revision=self.last + 1)))
            while not self.stopping.is_set():
                self._take(next(self.stream))
        except (grpc.RpcError, StopIteration):
            self.wander()
        finally:
            self.stream.cancel()

    def _take(self, reply):
        if reply.canceled:
            raise AssertionError(f"watch from {self.last + 1}: {reply.cancel_reason}")
        for event in reply.events:
            revision = event.kv.mod_revision
            assert revision > self.last, f"{self.at.name}: event {revision} after {self.last}"
            self.last = revision
            self.events.append((revision, event.kv.key,
                                None if event.type == 1 else event.kv.value))


class Load:
    """Clients and watchers that go on, whatever happens to the members, until the block ends."""

    def __init__(self, members, seed, clients=6):
        self.members = list(members)
        self.failures = []
        self.clients = [_Client(i, self.members, self.failures, seed) for i in range(clients)]
        self.watchers = [_Watcher(i, self.members, self.failures) for i in range(len(members))]
        self.extra = []   # operations of the test itself

    def __enter__(self):
        for wanderer in self.clients + self.watchers:
            wanderer.thread.start()
        return self

    def __exit__(self, *_):
        self.stop()
        self._end(self.watchers)

    @staticmethod
    def _end(wanderers):
        for wanderer in wanderers:
            wanderer.stopping.set()
            stream = getattr(wanderer, "stream", None)
            if stream is not None:
                stream.cancel()
        for wanderer in wanderers:
            wanderer.thread.join()

    def stop(self):
        """Ends the clients; the watchers go on."""
        self._end(self.clients)

    def joined(self, new):
        self.members.append(new)

    def left(self, old):
        """Nobody turns to this member any more, once its connections have ended."""
        self.members.remove(old)

    def acknowledged(self):
        return sum(client.acknowledged for client in self.clients)

    def progress(self, writes, seconds=member.PATIENCE_SECONDS):
        """Waits until that many more writes were acknowledged."""
        wanted, over = self.acknowledged() + writes, member.deadline(seconds)
        while self.acknowledged() < wanted:
            self.raise_failures()
            assert not over(), f"{wanted - self.acknowledged()} of {writes} writes missing"
            time.sleep(0.01)

    def raise_failures(self):
        if self.failures:
            raise self.failures[0]

    def ops(self):
        return [op for client in self.clients for op in client.ops] + self.extra

    def wait_for_watchers(self, revision, seconds=member.PATIENCE_SECONDS):
        over = member.deadline(seconds)
        while any(watcher.last < revision for watcher in self.watchers):
            self.raise_failures()
            assert not over(), f"of {revision}: {[w.last for w in self.watchers]}"
            time.sleep(0.01)

    def check(self, events):
        """Holds everything that was seen against the events [(revision, key, value or None)] of
        the store, in which other keys than KEYS may be."""
        self.raise_failures()
        for watcher in self.watchers:
            seen = [event for event in watcher.events if event[0] <= events[-1][0]]
            if seen != events:
                first = next((pair for pair in zip(seen, events) if pair[0] != pair[1]), None)
                raise AssertionError(f"watcher {watcher.number}: {len(seen)} of {len(events)} "
                                     f"events, first difference {first}")
        history.check(self.ops(), [event for event in events if event[1] in KEYS])
