"""Who may include what: the dependency picture of docs and top CMakeLists.txt as data."""

import re

from source import inside

_FLOOR = ["server/base/", "proto/"]
_DOMAIN = ["server/membership/", "server/lease/", "server/auth/"]
_CORE = _FLOOR + ["raft/", "wal/", "snap/", "mvcc/"] + _DOMAIN + [
    "server/apply/", "server/consensus/"]
# Files right in server/: the facade, and leaf files anyone above the domain may know.
_FACADE = ["server/FACADE"]
_LEAVES = ["server/version.h", "server/url.h", "server/server_metrics.h"]

# Zone -> the places its files may include besides the zone itself. The longest zone that a path
# starts with counts. "server/FACADE" stands for the files right in server/, less daemon's.
OURS = {
    "server/base/": [],
    "raft/": _FLOOR,
    "wal/": _FLOOR,
    "snap/": _FLOOR,
    "mvcc/": _FLOOR,
    "mvcc/backend/": _FLOOR + ["mvcc/revision.h"],
    "server/membership/": _FLOOR + ["mvcc/backend/"] + _LEAVES,
    "server/lease/": _FLOOR + ["mvcc/backend/", "mvcc/lease_attacher.h"],
    "server/auth/": _FLOOR + ["mvcc/backend/"],
    "server/apply/": _FLOOR + ["mvcc/"] + _DOMAIN + _LEAVES,
    "server/consensus/": _FLOOR + ["raft/", "wal/", "snap/"],
    "server/transport/": _FLOOR + [
        "raft/", "server/consensus/transport.h", "server/net/", "server/peer_client.h"] + _LEAVES,
    "server/FACADE": _CORE,
    "server/concurrency/": _CORE + _FACADE,
    "server/rpc/": _CORE + _FACADE + ["server/concurrency/"],
    "server/net/": ["server/base/", "server/rpc/call.h"],
    "server/discovery/": _FLOOR + [
        "server/membership/", "server/config.h", "server/net/grpc_codec.h"] + _LEAVES,
    "server/http/": _FLOOR + _FACADE + ["server/rpc/", "server/net/http1.h"],
    "server/daemon": _CORE + _FACADE + [
        "server/concurrency/", "server/rpc/", "server/net/", "server/http/", "server/transport/",
        "server/discovery/"],
    "cmd/etcdd/": ["server/"],
    "cmd/etcddutl/": ["server/", "proto/", "raft/", "wal/", "snap/", "mvcc/"],
    "cmd/etcdd-bench/": ["server/base/", "proto/"],
    "tests/": [""],
    "tests/support/": _FLOOR,
}

_RIM = ["server/net/", "server/http/", "server/transport/", "server/discovery/", "server/daemon*",
        "cmd/", "tests/"]

# Header name pattern -> where it may be included, and what to do instead.
THIRD_PARTY = [
    (r"spdlog/|fmt/", ["server/base/log.cc"], "log with server/base/log.h"),
    (r"prometheus/", ["server/base/metrics.cc"], "count with server/base/metrics.h"),
    (r"rocksdb/", ["mvcc/backend/rocks_*", "tests/mvcc/"], "use mvcc/backend/backend.h"),
    (r"nghttp2/|boost/", _RIM, "the network lives at the rim; take an interface"),
    (r"openssl/|crypt\.h", _RIM + ["server/auth/", "server/membership/"],
     "cryptography lives at the rim, in auth and in membership (ids)"),
    (r"grpc\+\+/|grpcpp/|grpc/", ["tests/"], "the server does not use the gRPC library"),
    (r"gtest/|gmock/|benchmark/", ["tests/"], "test libraries stay in tests/"),
    (r"CLI/|yaml-cpp/", ["cmd/", "server/daemon*", "tests/"], "configuration is read in cmd/"),
    (r"google/protobuf/", ["raft/", "wal/", "snap/", "mvcc/", "server/", "cmd/", "tests/"],
     "write by hand with server/base/coding.h"),
]
_THIRD_PARTY = [(re.compile(name), places, advice) for name, places, advice in THIRD_PARTY]
_PROTOBUF_FREE = ["server/base/", "server/net/"]

# raft/ is a pure state machine: it must not even be able to reach a thread, clock, file or socket.
_IMPURE = re.compile(
    r"(thread|mutex|shared_mutex|condition_variable|future|atomic|chrono|fstream|filesystem|ctime|"
    r"unistd\.h|fcntl\.h|sys/.*|absl/synchronization/.*|absl/time/clock\.h|"
    r"server/base/(clock|strand|file_system|metrics)\.h)$")


_TOPS = ("cmd/", "mvcc/", "proto/", "raft/", "server/", "snap/", "tests/", "wal/")


def is_ours(target):
    """Whether an include names a file of this tree; all others are third-party."""
    return target.startswith(_TOPS)


def zone_of(path):
    """The zone a source lies in; None when the graph does not know its folder."""
    if path.startswith("server/daemon"):  # daemon.h, daemon_*.cc, or a folder
        return "server/daemon"
    if path.startswith("server/") and path.count("/") == 1:
        return "server/FACADE"
    best = None
    for zone in OURS:
        if path.startswith(zone) and (best is None or len(zone) > len(best)):
            best = zone
    return best


def own_include_allowed(path, target):
    zone = zone_of(path)
    if zone is None:
        return False
    target_zone = zone_of(target) or target
    if target_zone == zone:
        return True
    for place in OURS[zone]:
        if place == "" or place == target or target_zone == place:
            return True
        if place.endswith("/") and target.startswith(place):
            return True
    # A folder may use its own inner folders (mvcc/ its backend/).
    return target.startswith(zone)


def third_party_advice(path, target):
    """None when path may include target, else what to do instead."""
    for name, places, advice in _THIRD_PARTY:
        if not name.match(target):
            continue
        if not inside(path, places):
            return advice
        if name.pattern.startswith("google") and inside(path, _PROTOBUF_FREE):
            return advice
    return None


def is_impure(target):
    return _IMPURE.match(target) is not None
