"""Shapes of random requests: keys, ranges, puts, transactions, watches."""

import wire

rpc = wire.rpc

_KEYS = [b"\0", b"a", b"a\0", b"aa", b"ab", b"b", b"b/1", b"b/2", b"b/3", b"c", b"k0", b"k1", b"k2",
         b"k3", b"k4", b"z", b"\xfe", b"\xff", b"\xff\xff", b"a" * 300]
_PREFIXES = [b"a", b"b/", b"k", b"\xff", b"q"]
_LEASES = [1, 2, 3, 77, -5, 0x7fffffffffffffff, -0x8000000000000000]
_DEPTH_MAX = 3
_WATCH_IDS = [1, 2, 5, -1, 1 << 33]


def prefix_end(prefix):
    """The range_end that selects all keys with this prefix (KV-014)."""
    for i in reversed(range(len(prefix))):
        if prefix[i] != 0xff:
            return prefix[:i] + bytes([prefix[i] + 1])
    return b"\0"


def _ops(txn):
    """All operations of a Txn and of the Txns in it."""
    for op in list(txn.success) + list(txn.failure):
        yield op
        if op.WhichOneof("request") == "request_txn":
            yield from _ops(op.request_txn)


def kills_reference(txn):
    """Whether 3.4.23 might die of it: a delete up to the end and a put that relies on old state."""
    open_delete = any(op.request_delete_range.range_end == b"\0" for op in _ops(txn)
                      if op.WhichOneof("request") == "request_delete_range")
    return open_delete and any(op.request_put.ignore_value or op.request_put.ignore_lease
                               for op in _ops(txn) if op.WhichOneof("request") == "request_put")


def passes_only_3_4_quota(txn):
    """KV-080: puts in nested Txns cost nothing on 3.4, so under NOSPACE it would execute them."""
    def is_put(op):
        return op.WhichOneof("request") == "request_put"
    top = any(is_put(op) for op in list(txn.success) + list(txn.failure))
    return not top and any(is_put(op) for op in _ops(txn))


class Shapes:
    def __init__(self, random, store):
        self._random = random
        self._store = store

    def _chance(self, probability):
        return self._random.random() < probability

    def key(self):
        return b"" if self._chance(0.004) else self._random.choice(_KEYS)

    def span(self, single):
        """(key, range_end); `single` is the probability of one key."""
        if self._chance(single):
            return self.key(), b""
        kind = self._random.randrange(10)
        if kind < 4:
            prefix = self._random.choice(_PREFIXES)
            return prefix, prefix_end(prefix)
        if kind < 6:
            return self.key(), b"\0"
        if kind == 6:
            return b"\0", b"\0"
        if kind == 7:  # Often empty or inverted.
            return self.key(), self.key()
        low, high = sorted([self._random.choice(_KEYS), self._random.choice(_KEYS)])
        return low, high

    def lease_id(self):
        """An id that is often, but not always, a granted one; 0 at times."""
        if self._store.leases and self._chance(0.6):
            return self._random.choice(sorted(self._store.leases))
        return self._random.choice(_LEASES + [0, 4242])

    def revision(self):
        """A revision to read at: mostly readable, at times compacted, future or negative."""
        store = self._store
        return self._random.choice(
            [0] * 6 + [store.revision, store.revision + 1, store.compacted, store.compacted - 1,
                       -1, -2, self._random.randint(max(store.compacted, 1), store.revision),
                       self._random.randint(max(store.compacted, 1), store.revision)])

    def compact_revision(self):
        store = self._store
        return self._random.choice([
            store.revision, store.revision - 1, store.revision - self._random.randint(0, 30),
            store.revision - self._random.randint(0, 30), store.revision + 1, store.compacted,
            self._random.choice([0, -3])])

    def value(self):
        if self._chance(0.01):  # Takes more than one frame, and more than a small window.
            return b"x" * self._random.choice([20000, 100000])
        return b"" if self._chance(0.1) else self._random.choice([
            b"v", b"w", b"1", b"2", b"\0\xff", b"v" * 500, str(self._random.random()).encode()])

    def put(self):
        put = rpc.PutRequest(key=self.key(), value=self.value())
        if self._chance(0.2):
            put.lease = self.lease_id()
        put.prev_kv = self._chance(0.3)
        if self._chance(0.06):
            put.ignore_value = True
            if self._chance(0.9):
                put.value = b""
        if self._chance(0.06):
            put.ignore_lease = True
            if self._chance(0.9):
                put.lease = 0
        return put

    def range(self, allow_unknown_order=False):
        key, range_end = self.span(single=0.3)
        query = rpc.RangeRequest(key=key, range_end=range_end, revision=self.revision())
        if self._chance(0.4):
            query.limit = self._random.choice([1, 2, 3, 5, 100, -1, -(1 << 63), (1 << 63) - 1])
        if self._chance(0.4):
            query.sort_order = self._random.randrange(3)
            query.sort_target = self._random.randrange(5)
        if allow_unknown_order and self._chance(0.01):
            query.sort_order = 3
        query.serializable = self._chance(0.2)
        query.keys_only = self._chance(0.1)
        query.count_only = self._chance(0.07)
        for field in ("min_mod_revision", "max_mod_revision", "min_create_revision",
                      "max_create_revision"):
            if self._chance(0.06):
                setattr(query, field, self._random.choice(
                    [-1, 1, self._store.revision, self._random.randint(1, self._store.revision)]))
        return query

    def delete(self):
        key, range_end = self.span(single=0.7)
        return rpc.DeleteRangeRequest(key=key, range_end=range_end, prev_kv=self._chance(0.4))

    def compare(self):
        key, range_end = self.span(single=0.8)
        target = self._random.randrange(5)
        compare = rpc.Compare(key=key, range_end=range_end, target=target,
                              result=self._random.randrange(4))
        number = self._random.choice([0, 0, 1, 2, self._store.revision, self.lease_id()])
        field = self._random.choice([target, target, target, target, 5, self._random.randrange(5)])
        if field == 3:
            compare.value = self.value()
        elif field < 5:
            setattr(compare, ["version", "create_revision", "mod_revision", "", "lease"][field],
                    number)
        if self._chance(0.02):
            compare.target = 9
        if self._chance(0.02):
            compare.result = 9
        return compare

    def txn(self, depth=1):
        txn = rpc.TxnRequest()
        for _ in range(self._random.choice([0, 0, 1, 1, 2])):
            txn.compare.append(self.compare())
        read_only = depth == 1 and self._chance(0.15)
        for branch in (txn.success, txn.failure):
            used = set()
            for _ in range(self._random.choice([0, 1, 1, 2, 3, 5])):
                branch.append(self._op(depth, used, read_only))
        if depth == 1 and self._chance(0.01):
            many = self._random.choice([126, 127, 128, 129])
            del txn.success[:]
            for i in range(many):
                txn.success.add().request_put.key = b"m%d" % i
        return txn

    def _op(self, depth, used, read_only):
        op = rpc.RequestOp()
        kind = 0 if read_only else self._random.randrange(100)
        if kind < 25:
            op.request_range.CopyFrom(self.range())
            op.request_range.revision = 0 if self._chance(0.8) else self.revision()
        elif kind < 70:
            put = self.put()
            if put.key in used and self._chance(0.95):  # Duplicates, but not all the time.
                put.key = b"t%d" % self._random.randrange(1000)
            used.add(put.key)
            op.request_put.CopyFrom(put)
        elif kind < 83:
            delete = self.delete()
            if self._chance(0.5):
                delete.range_end = b""
            if delete.key in used and self._chance(0.9):
                delete.key = b"k4"
            used.add(delete.key)
            op.request_delete_range.CopyFrom(delete)
        elif kind < 99 and depth < _DEPTH_MAX:
            op.request_txn.CopyFrom(self.txn(depth + 1))
        elif kind == 99 and self._chance(0.3):
            pass  # An operation without a body.
        else:
            op.request_range.key = b"k1"
        return op

    def watch(self, active_ids):
        key, range_end = self.span(single=0.3)
        store = self._store
        start = self._random.choice([0, 0, 0, 1, store.revision, store.revision + 1,
                                     store.revision + 5, store.revision - 3, store.compacted,
                                     store.compacted - 1, store.compacted + 1,
                                     self._random.randint(1, store.revision)])
        watch = rpc.WatchCreateRequest(key=key, range_end=range_end, start_revision=max(start, 0))
        watch.prev_kv = self._chance(0.5)
        watch.fragment = self._chance(0.2)
        if self._chance(0.25):
            watch.filters.extend(self._random.choice([[0], [1], [0, 1], [0, 0]]))
        if self._chance(0.25):
            watch.watch_id = self._random.choice(_WATCH_IDS + active_ids)
        return watch
