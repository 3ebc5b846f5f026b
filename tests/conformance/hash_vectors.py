"""HashKV against values that etcd gave for known histories (vectors A, B and C of its schema).

    /usr/bin/python3 -B hash_vectors.py --etcdd BINARY

A HashKV is CRC-32C over every stored record, so one wrong byte in a record's encoding, a record too
many or one too few after a compaction changes it. Needs no reference server: the values are known.
"""

import argparse
import collections
import sys

import members
import wire

rpc = wire.rpc

# Puts under way at once in the long vector. Servers may reorder those, though ours does not.
_PIPELINE_DEPTH = 64


class OutOfOrder(Exception):
    pass


class Story:
    """A history told to one member; every step must succeed."""

    def __init__(self, client):
        self._client = client
        self._last = None
        self.failures = []

    def call(self, name, request):
        answer = self._client.call(name, request)
        if not answer.ok:
            raise RuntimeError(f"{name} failed: {answer}\n{wire.show(request)}")
        return answer.reply

    def put(self, key, value, lease=0):
        return self.call("Put", rpc.PutRequest(key=key.encode(), value=value.encode(), lease=lease))

    def puts(self, requests, depth):
        """Puts, one revision each, up to `depth` under way. Raises OutOfOrder if the server took
        them in another order, which only one at a time can forbid."""
        pending = collections.deque()
        expected = None

        def finish_one():
            nonlocal expected
            answer = pending.popleft().answer()
            if not answer.ok:
                raise RuntimeError(f"Put failed: {answer}")
            revision = answer.reply.header.revision
            if expected is not None and revision != expected:
                raise OutOfOrder
            expected = revision + 1
        for request in requests:
            pending.append(self._client.start("Put", request))
            if len(pending) >= depth:
                finish_one()
        while pending:
            finish_one()

    def delete(self, key, range_end=""):
        return self.call("DeleteRange", rpc.DeleteRangeRequest(
            key=key.encode(), range_end=range_end.encode()))

    def again(self, client):
        """The last hash once more, of a restarted member."""
        self._client = client
        name, *rest = self._last
        self.expect(f"{name}, after kill -9 and restart", *rest)

    def grant(self, lease):
        self.call("LeaseGrant", rpc.LeaseGrantRequest(ID=lease, TTL=100000))

    def txn(self, *ops):
        """Each op: (key, value) to put, (key,) to delete."""
        txn = rpc.TxnRequest()
        for op in ops:
            if len(op) == 2:
                put = txn.success.add().request_put
                put.key, put.value = op[0].encode(), op[1].encode()
            else:
                txn.success.add().request_delete_range.key = op[0].encode()
        self.call("Txn", txn)

    def compact(self, revision):
        self.call("Compact", rpc.CompactionRequest(revision=revision, physical=True))

    def expect(self, name, value, compact_revision, revision):
        self._last = (name, value, compact_revision, revision)
        reply = self.call("HashKV", rpc.HashKVRequest())
        got = (reply.hash, reply.compact_revision, reply.hash_revision, reply.header.revision)
        wanted = (value, compact_revision, revision, revision)
        verdict = "ok" if got == wanted else f"FAILED: expected {wanted}, got {got}"
        print(f"vector {name}: {verdict} (hash, compact revision, hash revision, revision)",
              flush=True)
        if got != wanted:
            self.failures.append(name)


def vector_a(story):
    for i in range(1, 6):
        story.put(f"k{i}", f"v{i}")
    story.put("k1", "v1b")
    story.delete("k2")
    story.grant(0x6517a204ae74170c)
    story.put("lk", "lv", lease=0x6517a204ae74170c)
    story.txn(("a", "1"), ("b", "2"), ("k3",))
    story.put("k2", "again")
    story.expect("A", 2345647509, -1, 11)


def vector_b(story, depth):
    story.grant(0x1234)
    story.puts((rpc.PutRequest(key=b"key%06d" % i, value=b"value-%d" % i,
                               lease=0x1234 if i == 5 else 0) for i in range(60000)), depth)
    story.put("big", "x" * 1000000)
    story.txn(("key000001",), ("key000002", "zz"))
    story.expect("B", 571075322, -1, 60003)
    story.delete("key03", "l")
    story.compact(60004)
    story.put("x", "y")
    story.expect("B, compacted", 3466122151, 60004, 60005)
    for i in range(1, 6):
        story.put(f"p{i}", f"q{i}")
    story.delete("key000010")
    story.put("key000020", "nv")
    story.delete("key00010", "key00011")
    story.txn(("t1", "1"), ("key000030",), ("key000031", "x"))
    story.expect("B, after compaction", 1854054681, 60004, 60014)


def vector_c(story):
    for i in range(3000):
        story.put(f"key{i:05d}", f"val{i}")
    story.put("hello", "world")
    story.put("key00007", "nv")
    story.delete("key00100", "key00110")
    story.put("z", "1")
    story.expect("C", 3103420407, -1, 3005)


def run(binary, tell, *depth):
    """The names of wrong hashes of a vector on a fresh member, and again after kill -9: what was
    acknowledged must be there, and nothing else."""
    with members.Member("etcdd", binary) as member:
        story = Story(member.client)
        tell(story, *depth)
        member.stop()
        member.start()
        story.again(member.client)
        return story.failures


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--etcdd", required=True, help="path of the etcdd binary")
    binary = parser.parse_args().etcdd
    failures = run(binary, vector_a) + run(binary, vector_c)
    try:
        failures += run(binary, vector_b, _PIPELINE_DEPTH)
    except OutOfOrder:
        print("the server reorders puts: vector B again, one put at a time", flush=True)
        failures += run(binary, vector_b, 1)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
