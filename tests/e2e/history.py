"""Was what clients saw of a cluster possible on one machine? A checker of recorded histories.

A history is a list of Op. Two checks, independent of each other:

- linearizable(ops): searches, key by key, for an order of the operations that a single register
  would have answered in the same way and that respects real time (Wing and Gong 1993, with Lowe's
  memory of configurations). Of revisions it uses only those that replies show beside a value.
- by_revision(ops, log): etcd tells the place of each operation in the one order it keeps, so no
  search is needed: the log of all events, read afterwards by a watch, must hold each acknowledged
  write at its revision, nothing that was not sent, and every read must be what the log says at its
  revision; and these places must respect real time over all keys together.

Values must be unique over a history: a value names the operation that wrote it.
"""

import bisect
import dataclasses
import math

UNKNOWN = math.inf


@dataclasses.dataclass
class Op:
    """One request of a client.

    kind: "put", "get", "delete", or "cas", a transaction that puts `value` if the key's
    mod_revision is `expected` (0: the key is absent), else gets the key. `begin`, `end`: one
    clock's time of the request and the reply. An outcome that is not known (a timeout, a broken
    connection) has the end UNKNOWN: it may have happened at any time since, or never. An operation
    that surely did not happen is not part of a history.
    """

    client: int
    kind: str
    key: bytes
    begin: float
    value: bytes = b""
    expected: int = 0
    end: float = UNKNOWN
    revision: int = 0     # of the reply's header
    done: bool = False    # delete: something was deleted; cas: the put was made
    found: tuple = None   # get, cas that was not made: (value, mod_revision), or None if absent

    @property
    def known(self):
        return self.end != UNKNOWN

    @property
    def writes(self):
        """Surely changed the store."""
        return self.known and (self.kind == "put" or (self.kind != "get" and self.done))


class Violation(AssertionError):
    """What clients saw cannot have been."""


def _need(condition, text, *ops):
    if not condition:
        raise Violation("\n  ".join([text, *map(str, ops)]))


# --- by search


def _seen_revisions(ops):
    """value -> mod_revision, from all that replies show."""
    seen = {}
    pairs = [(op.value, op.revision, op) for op in ops if op.writes and op.kind != "delete"]
    pairs += [(*op.found, op) for op in ops if op.known and op.found]
    for value, revision, op in pairs:
        _need(seen.setdefault(value, revision) == revision,
              f"{value} was written once, but is seen at {seen[value]} too", op)
    return seen


def _step(op, state, seen):
    """The register's state after op, as a list of possible ones: none if the reply contradicts
    the state. State: None when absent, else (value, mod_revision or None when nobody saw it)."""
    written = (op.value, seen.get(op.value))
    if op.kind == "get":
        return [state] if op.found == state else []
    if op.kind == "put":
        return [written]
    if op.kind == "delete":
        if op.known and op.done != (state is not None):
            return []
        return [None]
    revision = 0 if state is None else state[1]
    # A revision that nobody saw may be the expected one only if no seen one is.
    matches = revision == op.expected or (revision is None and op.expected != 0
                                          and op.expected not in seen.values())
    if not op.known:
        return [written] if matches else [state]
    if op.done:
        return [written] if matches else []
    return [state] if op.found == state and revision != op.expected else []


class _Pending:
    """The operations not yet placed, as a doubly linked list of their calls and returns in the
    order of time; taking an operation out and putting it back costs no search."""

    def __init__(self, ops):
        marks = [(op.begin, 0, i) for i, op in enumerate(ops)]
        marks += [(op.end, 1, i) for i, op in enumerate(ops) if op.known]
        marks.sort()
        self.marks = [(kind, i) for _, kind, i in marks]
        size = len(marks)
        self.next = list(range(1, size + 1)) + [0]   # the last place is the head
        self.last = [size] + list(range(size))
        self.places = [[] for _ in ops]
        for place, (_, i) in enumerate(self.marks):
            self.places[i].append(place)
        self.head = size

    def take(self, i):
        for place in self.places[i]:
            self.next[self.last[place]] = self.next[place]
            self.last[self.next[place]] = self.last[place]

    def put_back(self, i):
        for place in reversed(self.places[i]):
            self.next[self.last[place]] = place
            self.last[self.next[place]] = place


def _search(ops, seen):
    """Whether some order of these operations on one key explains all replies. An operation without
    a reply may be left out."""
    pending = _Pending(ops)
    left = sum(op.known for op in ops)   # those that must be placed
    taken = 0                            # bit i: ops[i] is placed
    state = None
    stack, tried = [], {(0, None)}
    place = pending.next[pending.head]
    while left:
        candidate = None
        if place != pending.head and pending.marks[place][0] == 0:
            i = pending.marks[place][1]
            for after in _step(ops[i], state, seen):
                if (taken | 1 << i, after) not in tried:
                    candidate = after
                    break
            else:
                place = pending.next[place]
                continue
        else:
            # A return: whatever comes later must be placed after this operation. Go back.
            if not stack:
                return False
            i, taken, state = stack.pop()
            pending.put_back(i)
            left += ops[i].known
            place = pending.next[pending.places[i][0]]
            continue
        stack.append((i, taken, state))
        taken, state = taken | 1 << i, candidate
        tried.add((taken, state))
        pending.take(i)
        left -= ops[i].known
        place = pending.next[pending.head]
    return True


def linearizable(ops):
    """Raises Violation if for some key no order of the operations explains the replies. The time
    may grow exponentially with the number of operations under way at once on one key, and every
    one without a reply is under way until the end: settle() first where a log is at hand."""
    seen = _seen_revisions(ops)
    for key in sorted({op.key for op in ops}):
        of_key = sorted((op for op in ops if op.key == key), key=lambda op: op.begin)
        if not _search(of_key, seen):
            raise Violation(f"{key}: no order explains these replies\n  "
                            + "\n  ".join(map(str, of_key)))


# --- by revisions


class Log:
    """All events of a store, [(revision, key, value or None for a delete)], read afterwards."""

    def __init__(self, events):
        self.events = list(events)
        self.of_key = {}
        for revision, key, value in self.events:
            self.of_key.setdefault(key, []).append((revision, value))
        self.by_value = {value: revision for revision, _, value in self.events if value is not None}

    def at(self, key, revision):
        """What a get of the key at this revision finds: (value, mod_revision), or None."""
        events = self.of_key.get(key, [])
        later = bisect.bisect_right(events, revision, key=lambda event: event[0])
        if later == 0 or events[later - 1][1] is None:
            return None
        mod_revision, value = events[later - 1]
        return value, mod_revision


def settle(ops, log):
    """The history with the outcomes that the log shows: an operation without a reply whose value
    is not in the log did not happen and is left out; one whose value is there is given that
    revision (it remains without an end). The log must be read after every request has ended or
    can no longer happen. Deletes without a reply stay only where the log has a delete of the key
    that nobody was told of: the others did nothing."""
    told = {op.revision for op in ops if op.writes}
    untold = {key for revision, key, value in log.events if value is None and revision not in told}
    settled = []
    for op in ops:
        if op.known or (op.kind == "delete" and op.key in untold):
            settled.append(op)
        elif op.kind == "delete":
            continue
        elif op.kind != "get" and op.value in log.by_value:
            settled.append(dataclasses.replace(op, revision=log.by_value[op.value]))
    return settled


def _check_log(ops, log):
    """Each acknowledged write at its place; each event somebody's, and no more than once."""
    last = 0
    for revision, key, _ in log.events:
        _need(revision > last, f"log: {key} at {revision} after {last}")
        last = revision
    at = {revision: (key, value) for revision, key, value in log.events}
    owners = {}
    for op in ops:
        if not op.writes:
            continue
        wanted = (op.key, None if op.kind == "delete" else op.value)
        _need(at.get(op.revision) == wanted,
              f"acknowledged, but the log has {at.get(op.revision)} at {op.revision}", op)
        _need(op.revision not in owners, "two operations made one revision", op,
              owners.get(op.revision))
        owners[op.revision] = op
    open_values = {(op.key, op.value) for op in ops if not op.known and op.kind != "get"}
    open_deletes = {}
    for op in ops:
        if not op.known and op.kind == "delete":
            open_deletes[op.key] = open_deletes.get(op.key, 0) + 1
    for revision, key, value in log.events:
        if revision in owners:
            continue
        if value is None:
            open_deletes[key] = open_deletes.get(key, 0) - 1
            _need(open_deletes[key] >= 0, f"nobody deleted {key} at {revision}")
        else:
            _need((key, value) in open_values, f"nobody wrote {key}={value} at {revision}")
            open_values.discard((key, value))


def _check_reply(op, log):
    """The reply is what the log says at its revision."""
    before = log.at(op.key, op.revision - 1 if op.writes else op.revision)
    if op.kind == "get":
        _need(op.found == before, f"the log has {before} at {op.revision}", op)
    elif op.kind == "delete":
        _need(op.done == (before is not None), f"deleted although the log has {before}", op)
    elif op.kind == "cas":
        revision = 0 if before is None else before[1]
        _need(op.done == (revision == op.expected), f"cas although the log has {before}", op)
        _need(op.done or op.found == before, f"the log has {before} at {op.revision}", op)


def by_revision(ops, log):
    """Raises Violation unless the log explains every reply, in an order that respects real time:
    an operation that began after another one ended is not before it; a write is after it."""
    _check_log(ops, log)
    known = [op for op in ops if op.known]
    for op in known:
        _check_reply(op, log)
    marks = sorted([(op.begin, 1, i) for i, op in enumerate(known)]
                   + [(op.end, 0, i) for i, op in enumerate(known)])
    highest = None   # of the operations that have ended, the one with the highest revision
    for _, begins, i in marks:
        op = known[i]
        if not begins:
            if highest is None or op.revision > highest.revision:
                highest = op
        elif highest is not None:
            _need(op.revision > highest.revision
                  or (op.revision == highest.revision and not op.writes),
                  "begun after the other had ended, but before it by revision", op, highest)


def check(ops, events):
    """Both checks, on a history and the events of its store."""
    log = Log(events)
    by_revision(ops, log)
    linearizable(settle(ops, log))
