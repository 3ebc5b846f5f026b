"""The v3 API from the project's own .proto files, over grpcio, without generated code."""

import os
import queue
import subprocess

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def _load():
    pool = descriptor_pool.DescriptorPool()
    compiled = subprocess.run(
        ["protoc", "-I", _ROOT, "--include_imports", "--descriptor_set_out=/dev/stdout",
         "proto/rpc.proto", "proto/v3lock.proto", "proto/v3election.proto"],
        stdout=subprocess.PIPE, check=True).stdout
    for file in descriptor_pb2.FileDescriptorSet.FromString(compiled).file:
        pool.Add(file)
    return pool


_pool = _load()
_factory = message_factory.MessageFactory(_pool)


def message(name):
    """The class of a message, for example message("PutRequest") or message("mvccpb.KeyValue")."""
    full = name if "." in name else "etcdserverpb." + name
    return _factory.GetPrototype(_pool.FindMessageTypeByName(full))


PutRequest = message("PutRequest")
RangeRequest = message("RangeRequest")
DeleteRangeRequest = message("DeleteRangeRequest")
TxnRequest = message("TxnRequest")
RequestOp = message("RequestOp")
Compare = message("Compare")
CompactionRequest = message("CompactionRequest")
WatchRequest = message("WatchRequest")
LeaseGrantRequest = message("LeaseGrantRequest")
LeaseRevokeRequest = message("LeaseRevokeRequest")
LeaseKeepAliveRequest = message("LeaseKeepAliveRequest")
LeaseTimeToLiveRequest = message("LeaseTimeToLiveRequest")
LeaseLeasesRequest = message("LeaseLeasesRequest")
AlarmRequest = message("AlarmRequest")
StatusRequest = message("StatusRequest")
HashKVRequest = message("HashKVRequest")
LockRequest = message("v3lockpb.LockRequest")
UnlockRequest = message("v3lockpb.UnlockRequest")
LeaderKey = message("v3electionpb.LeaderKey")
CampaignRequest = message("v3electionpb.CampaignRequest")
ProclaimRequest = message("v3electionpb.ProclaimRequest")
ResignRequest = message("v3electionpb.ResignRequest")
LeaderRequest = message("v3electionpb.LeaderRequest")

_SERVICES = [*("etcdserverpb." + name for name in ("KV", "Watch", "Lease", "Cluster",
                                                   "Maintenance")),
             "v3lockpb.Lock", "v3electionpb.Election"]
# Requests of this size and more than one client's share of replies.
_MESSAGE_BYTES_MAX = 64 << 20
# The client library of this time keeps sub-channels between channels of a process; every client
# here stands for a process of its own.
_OPTIONS = [("grpc.use_local_subchannel_pool", 1),
            ("grpc.max_receive_message_length", _MESSAGE_BYTES_MAX),
            ("grpc.max_send_message_length", _MESSAGE_BYTES_MAX),
            ("grpc.enable_retries", 0),
            ("grpc.initial_reconnect_backoff_ms", 50),
            # Also the time a connection may take to be made.
            ("grpc.min_reconnect_backoff_ms", 10_000),
            ("grpc.max_reconnect_backoff_ms", 10_000)]


def prefix_end(prefix):
    """The range end of all keys that begin with these bytes (not all 0xff)."""
    return prefix[:-1] + bytes([prefix[-1] + 1])


class Client:
    """One connection. The methods send a request and return its reply, or raise grpc.RpcError;
    call.future(...) of the attributes begins one without waiting."""

    def __init__(self, endpoint, timeout_seconds=20):
        self.timeout_seconds = timeout_seconds
        self.channel = grpc.insecure_channel(endpoint, options=_OPTIONS)
        for name in _SERVICES:
            for method in _pool.FindServiceByName(name).methods:
                setattr(self, method.name, self._stub(name, method))

    def _stub(self, service, method):
        kinds = {"Watch": self.channel.stream_stream, "LeaseKeepAlive": self.channel.stream_stream,
                 "Snapshot": self.channel.unary_stream, "RangeStream": self.channel.unary_stream,
                 "Observe": self.channel.unary_stream}
        make = kinds.get(method.name, self.channel.unary_unary)
        return make(f"/{service}/{method.name}",
                    request_serializer=lambda request: request.SerializeToString(),
                    response_deserializer=_factory.GetPrototype(method.output_type).FromString)

    def close(self):
        self.channel.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def put(self, key, value, lease=0, timeout=None):
        return self.Put(PutRequest(key=key, value=value, lease=lease),
                        timeout=timeout or self.timeout_seconds)

    def get(self, key, **fields):
        return self.Range(RangeRequest(key=key, **fields), timeout=self.timeout_seconds)

    def value(self, key):
        """The value of a key, or None."""
        reply = self.get(key)
        return reply.kvs[0].value if reply.kvs else None

    def delete(self, key, **fields):
        return self.DeleteRange(DeleteRangeRequest(key=key, **fields), timeout=self.timeout_seconds)

    def txn(self, success, failure=(), compare=()):
        return self.Txn(TxnRequest(compare=compare, success=success, failure=failure),
                        timeout=self.timeout_seconds)

    def compact(self, revision, physical=True):
        return self.Compact(CompactionRequest(revision=revision, physical=physical),
                            timeout=self.timeout_seconds)

    def grant(self, ttl, lease_id=0):
        return self.LeaseGrant(LeaseGrantRequest(TTL=ttl, ID=lease_id),
                               timeout=self.timeout_seconds)

    def leases(self):
        """The ids of all leases."""
        reply = self.LeaseLeases(LeaseLeasesRequest(), timeout=self.timeout_seconds)
        return {lease.ID for lease in reply.leases}

    def alarm(self, action=0, member=0, alarm=0):
        return self.Alarm(AlarmRequest(action=action, memberID=member, alarm=alarm),
                          timeout=self.timeout_seconds)

    def status(self):
        return self.Status(StatusRequest(), timeout=self.timeout_seconds)

    def hash_kv(self, revision=0):
        return self.HashKV(HashKVRequest(revision=revision), timeout=self.timeout_seconds)

    def history(self, first, last):
        """The events of the revisions first..last in order, as a list of (revision, events),
        read by one watch over all keys. The last revision must exist."""
        requests = _Requests()
        call = self.Watch(requests, timeout=self.timeout_seconds * 3)
        requests.send(WatchRequest(create_request={"key": b"\0", "range_end": b"\0",
                                                   "start_revision": first}))
        revisions = []
        try:
            while first <= last and (not revisions or revisions[-1][0] < last):
                reply = next(call)
                if reply.canceled:
                    raise AssertionError(f"watch from {first} cancelled: {reply.cancel_reason}")
                for event in reply.events:
                    revision = event.kv.mod_revision
                    if not revisions or revisions[-1][0] != revision:
                        revisions.append((revision, []))
                    revisions[-1][1].append(event)
        finally:
            requests.close()
            call.cancel()
        return [pair for pair in revisions if pair[0] <= last]


class _Requests:
    """An iterator of stream requests that are sent one by one."""

    def __init__(self):
        self._queue = queue.Queue()

    def send(self, request):
        self._queue.put(request)

    def close(self):
        self._queue.put(None)

    def __iter__(self):
        return self

    def __next__(self):
        request = self._queue.get()
        if request is None:
            raise StopIteration
        return request


class Stream:
    """An open bidirectional stream: send() requests, iterate over replies."""

    def __init__(self, method, timeout=60):
        self._requests = _Requests()
        self.call = method(self._requests, timeout=timeout)

    def send(self, request):
        self._requests.send(request)

    def close_sending(self):
        self._requests.close()

    def __next__(self):
        return next(self.call)

    def cancel(self):
        self._requests.close()
        self.call.cancel()
