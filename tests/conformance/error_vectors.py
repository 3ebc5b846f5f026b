"""Bad and edge requests with their known answers: testdata/error-vectors.tsv.

    /usr/bin/python3 -B error_vectors.py --etcdd BINARY

Each row that one member suffices for is sent to etcd 3.4.23, which must answer as the table says
(so the state was made rightly), and to etcdd, which must answer as 3.7 does. Rows that kill
3.4.23 go to etcdd alone, which must answer, live, and show no effect.
"""

import argparse
import csv
import queue
import re
import sys
import threading
from pathlib import Path

from google.protobuf import text_format

import members
import vector_states
import wire

rpc = wire.rpc

_TABLE = Path(__file__).parent / "testdata" / "error-vectors.tsv"
# How etcdd refuses what it does not serve yet. Such rows are counted, not passed.
_NOT_SERVED = "is not supported yet by this version of etcdd"
_STREAM_SECONDS_MAX = 10


class Row:
    def __init__(self, number, fields):
        self.number = number
        self.state = fields["state"]
        self.rpc = fields["rpc"]
        self.text = fields["request"]
        self.old = (fields["code_3.4.23"], fields["message_3.4.23"])
        self.note = fields["note"]
        self.kills_reference = self.old[0] == "(no answer)"
        answer = fields["answer_3.7"]
        if answer == "same":
            self.new = self.old
        elif answer.startswith("process dies too"):
            # The note says what to do instead; where it only asks for an error, any will do.
            found = re.search(r"(InvalidArgument) (etcdserver: key not found)", self.note)
            self.new = found.groups() if found else ("error", None)
        elif answer == "served":
            self.new = ("OK", "")
        elif answer.startswith("Internal,"):
            self.new = ("Internal", None)
        else:
            code, _, message = answer.partition(" ")
            code = code.rstrip(",")
            self.new = (code, "" if code == "OK" else message)

    def __str__(self):
        return f"line {self.number}: [{self.state}] {self.rpc} {self.text}"


def parse_request(row, method, revision):
    """The request a row's text stands for. `revision` is the store's."""
    text = row.text
    if text.startswith("bytes ff ff ff"):
        return b"\xff\xff\xff"
    if method is None:
        return b""
    request = method.request()
    if "129 puts" in text:
        for i in range(129):
            request.success.add().request_put.key = b"n%d" % i
    elif "nested txn with 128 ranges" in text:
        nested = request.success.add().request_txn
        for _ in range(128):
            nested.success.add().request_range.key = b"k"
    elif "value of 1572864 bytes" in text:
        request.key, request.value = b"k", bytes(1572864)
    elif "value of max-request-bytes" in text:
        request.key, request.value = b"k", bytes(1572864 + 512 * 1024 + 10)
    elif text != "(empty)":
        text = re.sub(r"\(((success: )?an op without body|no perm)\)", "", text)
        text = text.replace("R+1", str(revision + 1)).replace("<wrong>", "999999")
        text_format.Parse(text, request)
    return request


class Pair:
    """The two members in one group of states."""

    def __init__(self, reference_path, etcdd_path):
        self.members = [members.Member("etcd", reference_path), members.Member("etcdd", etcdd_path)]
        for member in self.members:
            member.start()
        self._made = set()
        self._tokens = {}

    def close(self):
        for member in self.members:
            member.__exit__()

    def make(self, member, state):
        """Makes the state on one of them. Returns why not, or None."""
        group, requests, _ = vector_states.STATES[state]
        if (member, group) in self._made:
            return None
        for name, request in requests:
            if _NOT_SERVED in member.client.call(name, request).text:
                return f"{name} is not served yet"
        if group in vector_states.ONCE:
            self._made.add((member, group))
        return None

    def metadata(self, member, user):
        """The token of a user who logs in at need, None for none."""
        if user is None:
            return None
        if user == "junk":
            return [("token", "junk")]
        if (member.name, user) not in self._tokens:
            answer = member.client.call(
                "Authenticate", rpc.AuthenticateRequest(name=user, password="pw"))
            self._tokens[member.name, user] = answer.reply.token
        return [("token", self._tokens[member.name, user])]


def revision_of(member, metadata=None):
    """The store revision; 0 where the member refuses to tell it."""
    answer = member.client.call("Range", rpc.RangeRequest(key=b"m1"), metadata)
    return answer.reply.header.revision if answer.ok else 0


def send(member, row, metadata, revision):
    """The answer of a row whose RPC is no watch."""
    name = row.rpc.replace(" (stream)", "")
    method = wire.METHODS.get(name) or next(
        (each for each in wire.METHODS.values() if each.path == name), None)
    request = parse_request(row, method, revision)
    if name == "LeaseKeepAlive":
        stream = member.client.stream(name, metadata)
        stream.send(request)
        stream.half_close()
        for _ in stream.replies():
            pass
        return wire.Answer("OK", "", None)
    if method is not None and method.name in ("RangeStream", "Snapshot"):
        # RangeStream is sent with a key: the row asks only whether it is served.
        request = rpc.RangeRequest(key=b"k") if method.name == "RangeStream" else request
        return member.client.collect(method.name, request, metadata)[0]
    return member.client.call(method.name if method else name, request, metadata)


def watch_replies(member, row, metadata, count):
    """What a watch stream answers to the row's create: the first `count` responses."""
    stream = member.client.stream("Watch", metadata)
    replies = queue.Queue()

    def read():
        for reply in stream.replies():
            replies.put(reply)
    thread = threading.Thread(target=_quietly, args=(read,), daemon=True)
    thread.start()
    if row.state == "watch_id 3 active":
        stream.send(rpc.WatchRequest(create_request=rpc.WatchCreateRequest(key=b"x", watch_id=3)))
        replies.get(timeout=_STREAM_SECONDS_MAX)
    create = text_format.Parse(row.text, rpc.WatchCreateRequest())
    stream.send(rpc.WatchRequest(create_request=create))
    got = [replies.get(timeout=_STREAM_SECONDS_MAX) for _ in range(count)]
    stream.cancel()
    thread.join()
    return got


def _quietly(read):
    try:
        read()
    except wire.grpc.RpcError:
        pass  # The cancel at the end.


def check_watch(member, row, metadata, is_reference):
    """None, or what is wrong with the responses."""
    if row.state == "compacted at 20":
        created, canceled = watch_replies(member, row, metadata, 2)
        if not created.created or created.canceled:
            return f"expected created, got\n{created}"
        if (canceled.canceled, canceled.compact_revision, canceled.cancel_reason,
                canceled.header.revision) != (True, 20, "", 0):
            return f"expected the end by compaction, got\n{canceled}"
        return None
    reply = watch_replies(member, row, metadata, 1)[0]
    if is_reference and "plain live watch" in row.note:
        return None if reply.created and not reply.canceled else f"expected a watch, got\n{reply}"
    described = row.note if is_reference or row.new == row.old else " ".join(row.new)
    reason = re.search(r'cancel_reason "(.*)"', described).group(1)
    if (reply.created, reply.canceled, reply.watch_id, reply.cancel_reason) != (
            True, True, -1, reason):
        return f"expected refusal with {reason!r}, got\n{reply}"
    return None


def check_answer(expected, answer):
    """None, or what is wrong."""
    code, text = expected
    if code == "error":
        return None if not answer.ok else f"expected an error, got {answer}"
    if answer.code != code or (text is not None and answer.text != text):
        return f"expected {code} {text or ''}, got {answer}"
    return None


def run_row(pair, row):
    """(problem or None, reason for not running or None)."""
    for member in pair.members:
        is_reference = member is pair.members[0]
        if is_reference and row.kills_reference:
            continue
        problem, reason = run_on(pair, member, row, is_reference)
        if problem is None and not member.alive():
            problem = f"the process died:\n{member.log_tail()}"
        if problem or reason:
            return problem and f"{member.name}: {problem}", reason
    return None, None


def run_on(pair, member, row, is_reference):
    """The same for one of the two."""
    reason = pair.make(member, row.state)
    if reason:
        return None, reason
    metadata = pair.metadata(member, vector_states.STATES[row.state][2])
    if row.rpc == "Watch create (stream)":
        return check_watch(member, row, metadata, is_reference), None
    before = revision_of(member, metadata)
    answer = send(member, row, metadata, before)
    if not is_reference and _NOT_SERVED in answer.text:
        return None, f"{row.rpc} is not served yet"
    problem = check_answer(row.old if is_reference else row.new, answer)
    if problem is None and not answer.ok and revision_of(member, metadata) != before:
        problem = "an error, yet the revision changed"
    return problem, None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--etcdd", required=True, help="path of the etcdd binary")
    arguments = parser.parse_args()
    reference_path = members.reference_or_skip()
    with open(_TABLE, encoding="utf-8", newline="") as table:
        reader = csv.DictReader(table, delimiter="\t", quoting=csv.QUOTE_NONE)
        rows = [Row(number, fields) for number, fields in enumerate(reader, start=2)]
    groups = {}
    not_run = {}
    for row in rows:
        state = vector_states.STATES.get(row.state)
        if state is None:
            not_run[row] = "needs more than one healthy member"
        else:
            groups.setdefault(state[0], []).append(row)
    failures = 0
    for group, members_of_group in groups.items():
        pair = Pair(reference_path, arguments.etcdd)
        try:
            for row in members_of_group:
                problem, reason = run_row(pair, row)
                if reason:
                    not_run[row] = reason
                if problem:
                    failures += 1
                    print(f"FAILED {row}\n  {problem}", flush=True)
        finally:
            pair.close()
    reasons = sorted(not_run.values())
    for reason in sorted(set(reasons)):
        print(f"not run, {reason}: {reasons.count(reason)} rows")
    print(f"{len(rows) - len(not_run) - failures} rows right, {failures} wrong")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
