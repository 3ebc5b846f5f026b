"""The states that error-vectors.tsv names, made by requests to both members of a pair.

States of the same group follow one another on one pair of servers; a new group starts afresh. What
is missing here needs more than one member or a lost quorum, and is printed as not run.
"""

import wire

rpc = wire.rpc


def _put(*keys):
    return [("Put", rpc.PutRequest(key=key.encode(), value=b"v")) for key in keys]


def _delete(key):
    return [("DeleteRange", rpc.DeleteRangeRequest(key=key.encode()))]


def _grant(lease):
    return [("LeaseGrant", rpc.LeaseGrantRequest(ID=lease, TTL=1000))]


def _revoke(*leases):
    return [("LeaseRevoke", rpc.LeaseRevokeRequest(ID=lease)) for lease in leases]


def _alarm(kind):
    return [("Alarm", rpc.AlarmRequest(action=rpc.AlarmRequest.ACTIVATE, memberID=1, alarm=kind))]


def _compact(revision):
    return [("Compact", rpc.CompactionRequest(revision=revision, physical=True))]


def _user(name, *roles, password="pw", no_password=False):
    options = wire.auth.UserAddOptions(no_password=no_password)
    add = rpc.AuthUserAddRequest(name=name, password="" if no_password else password,
                                 options=options)
    return [("UserAdd", add)] + [
        ("UserGrantRole", rpc.AuthUserGrantRoleRequest(user=name, role=role)) for role in roles]


def _role(name, *permissions):
    grants = []
    for kind, key, range_end in permissions:
        permission = wire.auth.Permission(permType=kind, key=key, range_end=range_end)
        grants.append(("RoleGrantPermission",
                       rpc.AuthRoleGrantPermissionRequest(name=name, perm=permission)))
    return [("RoleAdd", rpc.AuthRoleAddRequest(name=name))] + grants


_READ, _WRITE = wire.auth.Permission.READ, wire.auth.Permission.WRITE
_KEYS = [f"k{i}" for i in range(1, 8)]
_WITH_AUTH = (
    _put("secret", "m1", "w", "foo") + _grant(11) + _grant(2)
    + [("Put", rpc.PutRequest(key=b"secret", lease=11))]
    + _role("root") + _user("root", "root")
    + _role("r", (_READ, b"b", b"d"), (_READ, b"m1", b""), (_WRITE, b"w", b""))
    + _user("alice", "r") + _user("bob") + _user("nopw", no_password=True)
    + [("AuthEnable", rpc.AuthEnableRequest())])

# State -> (group, requests that make it, user whose token rows carry). Requests are sent before
# every row, and may fail: "lease 77 exists" is also true when it already did.
STATES = {
    "any": ("plain", [], None),
    "store revision R": ("plain", _put("k"), None),
    "k1 exists": ("plain", _put("k1"), None),
    "k1..k3 exist": ("plain", _put("k1", "k2", "k3"), None),
    "no1 absent": ("plain", _delete("no1"), None),
    "no1 absent, lease absent": ("plain", _delete("no1") + _revoke(12345), None),
    "lease absent": ("plain", _put("k1") + _revoke(12345, 4242), None),
    "lease 77 exists": ("plain", _grant(77), None),
    "lease 99 absent": ("plain", _revoke(99), None),
    "n2 absent": ("plain", _delete("n2"), None),
    "999999 > store revision": ("plain", [], None),
    "lease 99 absent, 999999 > store revision": ("plain", _revoke(99), None),
    "never compacted": ("plain", [], None),
    "default max-txn-ops 128": ("plain", [], None),
    "default max-request-bytes": ("plain", [], None),
    "default": ("plain", [], None),
    "single member, unknown target": ("plain", [], None),
    "store revision 8": ("plain", _put("k"), None),
    "unknown ID": ("plain", [], None),
    "healthy 3 members": ("plain", [], None),  # One will do: the URLs are refused first.
    "no candidates": ("plain", [], None),
    "leader.rev does not match": ("plain", _put("E/51"), None),
    "auth off": ("plain", [], None),
    "auth off, token junk": ("plain", _put("foo1"), "junk"),
    "no root user": ("plain", [], None),
    "root exists": ("users", _user("root"), None),
    "root has no role": ("users", _user("root"), None),
    "role absent": ("users", _user("root"), None),
    "user absent": ("users", _role("root"), None),
    "both absent": ("users", [], None),
    "role not held": ("users", _role("r") + _user("root"), None),
    "r1 exists": ("users", _role("r1"), None),
    "role r exists": ("users", _role("r"), None),
    "not granted": ("users", _role("r1"), None),
    "fresh store": ("fresh", [], None),
    "after Compact(0)": ("fresh", _compact(0), None),
    "compacted at 5": ("compacted", _put(*_KEYS) + _compact(5), None),
    "compacted at 20": ("compacted more", _put(*_KEYS, *_KEYS, *_KEYS) + _compact(20), None),
    "watch_id 3 active": ("plain", [], None),
    "NOSPACE alarm active": ("alarm", _put("a") + _alarm(rpc.NOSPACE), None),
    "NOSPACE alarm active, lease absent": ("alarm", _alarm(rpc.NOSPACE), None),
    "CORRUPT and NOSPACE alarms active": (
        "corrupt", _put(*_KEYS, *_KEYS, "s3") + _grant(1) + _alarm(rpc.NOSPACE)
        + _alarm(rpc.CORRUPT), None),
    "auth on": ("auth", _WITH_AUTH, None),
    "auth on, no token": ("auth", _WITH_AUTH, None),
    "auth on, token junk": ("auth", _WITH_AUTH, "junk"),
    "auth on, no-password user": ("auth", _WITH_AUTH, None),
    "auth on, alice": ("auth", _WITH_AUTH, "alice"),
    "auth on, alice, lease holds key secret": ("auth", _WITH_AUTH, "alice"),
    "auth on, alice, a lease holds key secret": ("auth", _WITH_AUTH, "alice"),
    "auth on, user root": ("auth", _WITH_AUTH, "root"),
}

# Groups that are made once: made again they would change the numbers, or fail.
ONCE = {"compacted", "compacted more", "alarm", "corrupt", "auth"}
