"""Comparing two answers to the same request: etcd 3.4.23's and etcdd's, which speaks level 3.7.

All that may differ is in MASKS, each with the number of the rule that allows it (rule numbers are
those of the behaviour catalogue: KV, WATCH, LEASE, MAINT, SRV). Every mask is as narrow as its
rule: where 3.7 is known to answer otherwise than 3.4.23, the mask turns the old answer into the
new one and the comparison then demands exactly that.
"""

import copy

import wire

RangeRequest = wire.rpc.RangeRequest

INVALID_SORT = "etcdserver: invalid sort option"
_TXN_PATH_ERRORS = {
    "etcdserver: requested lease not found",
    "etcdserver: key not found",
    "etcdserver: mvcc: required revision is a future revision",
    "etcdserver: mvcc: required revision has been compacted",
}


class Context:
    """What masks may know of the store at the time of the request."""

    def __init__(self, revision, compacted, compaction_hash=None, ttl_slack_seconds=1):
        """`compaction_hash` is the HashKVResponse that the compaction to `compacted` must have
        stored, None where none is sure to be; `ttl_slack_seconds` is 1 plus what lies between the
        starts of the two servers, since a restart begins every lease anew (LEASE-020)."""
        self.revision = revision
        self.compacted = compacted
        self.compaction_hash = compaction_hash
        self.ttl_slack_seconds = ttl_slack_seconds


def _become(answer, code, text, reply=None):
    answer.code, answer.text, answer.reply = code, text, reply


def _ids_and_term(request, old, new, context):
    for answer in (old, new):
        header = getattr(answer.reply, "header", None)
        if header is None or not answer.reply.HasField("header"):
            continue
        for field in ("cluster_id", "member_id", "raft_term"):
            if getattr(header, field):  # A missing value stays a difference.
                setattr(header, field, 1)


def _range_pairs(request, reply):
    """Yields (RangeRequest, RangeResponse) of a range, or of the ranges in a Txn and its reply."""
    if isinstance(request, RangeRequest):
        yield request, reply
    if isinstance(request, wire.rpc.TxnRequest):
        ops = request.success if reply.succeeded else request.failure
        for op, response in zip(ops, reply.responses):
            kind = op.WhichOneof("request")
            if kind == "request_range":
                yield op.request_range, response.response_range
            elif kind == "request_txn":
                yield from _range_pairs(op.request_txn, response.response_txn)


def _keys_only_lease(request, old, new, context):
    if not old.ok:
        return
    for query, reply in _range_pairs(request, old.reply):
        if query.keys_only and query.sort_target != RangeRequest.VALUE:
            for pair in reply.kvs:
                pair.lease = 0


_SORT_VALUE = {
    RangeRequest.VERSION: lambda pair: pair.version,
    RangeRequest.CREATE: lambda pair: pair.create_revision,
    RangeRequest.MOD: lambda pair: pair.mod_revision,
    RangeRequest.VALUE: lambda pair: pair.value,
}


def _equal_sort_values(request, old, new, context):
    for answer in (old, new):
        if not answer.ok:
            continue
        for query, reply in _range_pairs(request, answer.reply):
            value = _SORT_VALUE.get(query.sort_target)
            if value is None or (query.keys_only and query.sort_target == RangeRequest.VALUE):
                continue
            _order_within_groups(reply, value)


def _order_within_groups(reply, value):
    """Puts pairs of equal sort value into key order. Of a last group that the limit may have cut,
    only the sort values count, since either choice of its members is right."""
    pairs = list(reply.kvs)
    start = 0
    while start < len(pairs):
        end = start
        while end < len(pairs) and value(pairs[end]) == value(pairs[start]):
            end += 1
        if end == len(pairs) and reply.more and end - start > 1:
            for i in range(start, end):
                pairs[i] = _only_sort_value(pairs[i], value)
        else:
            pairs[start:end] = sorted(pairs[start:end], key=lambda pair: pair.key)
        start = end
    if reply.more and pairs and len(pairs[-1].key):
        pairs[-1] = _only_sort_value(pairs[-1], value)
    del reply.kvs[:]
    reply.kvs.extend(pairs)


def _only_sort_value(pair, value):
    return wire.kv.KeyValue(value=repr(value(pair)).encode())


def _keys_only_by_value(request, old, new, context):
    """Stripped values cannot show which pairs are equal, so the set of pairs must be the same."""
    for answer in (old, new):
        if not answer.ok:
            continue
        for query, reply in _range_pairs(request, answer.reply):
            if query.keys_only and query.sort_target == RangeRequest.VALUE and not reply.more:
                pairs = sorted(reply.kvs, key=lambda pair: pair.key)
                del reply.kvs[:]
                reply.kvs.extend(pairs)
            elif query.keys_only and query.sort_target == RangeRequest.VALUE:
                for pair in reply.kvs:
                    pair.Clear()


def _has_unknown_order(request):
    if isinstance(request, RangeRequest):
        return request.sort_order not in (0, 1, 2)
    if isinstance(request, wire.rpc.TxnRequest):
        for op in list(request.success) + list(request.failure):
            kind = op.WhichOneof("request")
            if kind in ("request_range", "request_txn") and _has_unknown_order(getattr(op, kind)):
                return True
    return False


def _unknown_sort_order(request, old, new, context):
    if _has_unknown_order(request) and (old.ok or old.text in _TXN_PATH_ERRORS):
        _become(old, "InvalidArgument", INVALID_SORT)


def _choice_of_txn_error(request, old, new, context):
    if isinstance(request, wire.rpc.TxnRequest) and {old.text, new.text} <= _TXN_PATH_ERRORS:
        _become(old, new.code, new.text)


def _ttl_and_keys(request, old, new, context):
    if isinstance(old.reply, wire.rpc.LeaseTimeToLiveResponse) and new.ok:
        if abs(old.reply.TTL - new.reply.TTL) <= context.ttl_slack_seconds:
            old.reply.TTL = new.reply.TTL
        keys = sorted(old.reply.keys)
        del old.reply.keys[:]
        old.reply.keys.extend(keys)  # Not etcdd's: there the order is promised.


def _order_of_leases(request, old, new, context):
    for answer in (old, new):
        if isinstance(answer.reply, wire.rpc.LeaseLeasesResponse):
            leases = sorted(answer.reply.leases, key=lambda lease: lease.ID)
            del answer.reply.leases[:]
            answer.reply.leases.extend(leases)


def _order_of_alarms(request, old, new, context):
    for answer in (old, new):
        if isinstance(answer.reply, wire.rpc.AlarmResponse):
            alarms = sorted(answer.reply.alarms, key=lambda alarm: (alarm.alarm, alarm.memberID))
            del answer.reply.alarms[:]
            answer.reply.alarms.extend(alarms)


def _alarm_header(request, old, new, context):
    if isinstance(new.reply, wire.rpc.AlarmResponse) and old.ok:
        old.reply.header.CopyFrom(wire.rpc.ResponseHeader(
            cluster_id=1, member_id=1, raft_term=1, revision=context.revision))


def _hash_kv(request, old, new, context):
    if not isinstance(request, wire.rpc.HashKVRequest) or not new.ok:
        return
    revision = request.revision or context.revision
    at_compaction = revision == context.compacted
    if old.ok:
        old.reply.hash_revision = revision
        # Revision 0 may mean the compact revision; then the stored hash is as right as a new one.
        if not at_compaction or new.reply.compact_revision == context.compacted:
            return
    elif not at_compaction or "compacted" not in old.text:
        return
    reply = wire.rpc.HashKVResponse()
    reply.CopyFrom(new.reply)
    reply.hash_revision = revision
    reply.header.revision = context.revision
    if context.compaction_hash is not None:
        reply.hash = context.compaction_hash.hash
        reply.compact_revision = context.compaction_hash.compact_revision
    _become(old, "OK", "", reply)


def _hash(request, old, new, context):
    for answer in (old, new):
        if isinstance(answer.reply, wire.rpc.HashResponse):
            answer.reply.hash = 0


def _status(request, old, new, context):
    if not isinstance(old.reply, wire.rpc.StatusResponse) or not new.ok:
        return
    for reply in (old.reply, new.reply):
        for field in ("version", "dbSize", "dbSizeInUse", "leader", "raftIndex", "raftTerm",
                      "raftAppliedIndex"):
            if getattr(reply, field):
                setattr(reply, field, type(getattr(reply, field))(1))
        errors = sorted("".join(text.split()) for text in reply.errors)
        del reply.errors[:]
        reply.errors.extend(errors)
    old.reply.storageVersion = "3.7.0"
    old.reply.dbSizeQuota = 2147483648
    old.reply.downgradeInfo.SetInParent()


def _members(request, old, new, context):
    for answer in (old, new):
        for member in getattr(answer.reply, "members", []):
            member.ID = 1 if member.ID else 0
            for urls in (member.peerURLs, member.clientURLs):
                urls[:] = [url.rsplit(":", 1)[0] for url in urls]


def _decoder_text(request, old, new, context):
    if old.code == new.code == "Internal" and isinstance(request, bytes):
        prefix = "grpc: error unmarshalling request: "
        if old.text.startswith(prefix) and new.text.startswith(prefix):
            old.text = new.text


# (rule, what may differ, how). Applied in order to copies of both answers.
MASKS = [
    ("values to mask always", "member and cluster id, raft term", _ids_and_term),
    ("KV-021", "keys_only also drops the lease unless sorted by value", _keys_only_lease),
    ("KV-026", "order of equal sort values, and which of them a limit cuts", _equal_sort_values),
    ("KV-022, KV-026", "order of equal values that keys_only hides", _keys_only_by_value),
    ("KV-027", "an unknown sort order is refused", _unknown_sort_order),
    ("KV-051", "which of two errors of a Txn is told", _choice_of_txn_error),
    ("LEASE-012", "TTL by one second; order of a lease's keys", _ttl_and_keys),
    ("LEASE-013", "order of the lease list", _order_of_leases),
    ("MAINT-001", "order of alarms", _order_of_alarms),
    ("KV-007", "alarm replies have a header", _alarm_header),
    ("MAINT-028, MAINT-029", "hash_revision; the compact revision can be hashed", _hash_kv),
    ("MAINT-025", "the layout-specific hash", _hash),
    ("MAINT-020, MAINT-021", "sizes, indexes, new fields, spacing and order of texts", _status),
    ("CLUS-001", "ids and ports of members", _members),
    ("SRV-011", "the decoder's own words about bytes that are no protobuf", _decoder_text),
]


def difference(request, reference, ours, context):
    """None when `ours` is a right answer given the reference's; else a text that says how not."""
    old, new = copy.deepcopy(reference), copy.deepcopy(ours)
    for _, _, mask in MASKS:
        mask(request, old, new, context)
    if (old.code, old.text) != (new.code, new.text):
        return f"expected {old}\ngot {new}"
    if old.reply is not None and wire.serialized(old.reply) != wire.serialized(new.reply):
        return f"after masking, expected\n{wire.show(old.reply)}got\n{wire.show(new.reply)}"
    return None
