"""Watches on two members side by side: the same requests, and the complete event sequences.

How events are cut into responses depends on timing, so what is compared is each watch's sequence
of events, plus what every response promises by itself: all events of a revision in one response
(WATCH-026), a header not older than its events (WATCH-027), nothing after the end (WATCH-031).
"""

import threading
import time

import grpc

import wire

rpc = wire.rpc

# The watch that shows how far a stream has come; no generated id comes near it.
MARKER_ID = 1 << 40
MARKER_KEY = b"\x01sync-marker"
_WAIT_SECONDS_MAX = 8
# etcd serves watches that start in the past from a loop of 100 ms (WATCH-043).
_CATCH_UP_SECONDS = 0.25


class WatchMismatch(Exception):
    """The two members, or a member and a rule, disagree about a watch."""


class _History:
    """What one member sent for one watch id since it was created on the stream."""

    def __init__(self):
        self.events = []
        self.ended = None  # The response with canceled set.
        self.fragment_of = None  # The revision that more fragments may belong to.


class _Side:
    """One member's end of a stream. Fields below _ready are guarded by it."""

    def __init__(self, name, client):
        self.name = name
        self._stream = client.stream("Watch")
        self._ready = threading.Condition()
        self._created = []
        self._histories = {}
        self._failure = None
        self._ended_by_us = False
        threading.Thread(target=self._read, daemon=True).start()

    def send(self, request):
        self._stream.send(request)

    def end(self):
        with self._ready:
            self._ended_by_us = True
        self._stream.cancel()

    def _read(self):
        try:
            for reply in self._stream.replies():
                with self._ready:
                    self._take(reply)
                    self._ready.notify_all()
            problem = "the server ended the watch stream"
        except grpc.RpcError as error:
            problem = f"watch stream failed: {error.code()} {error.details()}"
        with self._ready:
            if not self._ended_by_us:
                self._fail(problem)
            self._ready.notify_all()

    def _fail(self, text):
        if self._failure is None:
            self._failure = f"{self.name}: {text}"

    def _take(self, reply):
        if reply.created:
            self._created.append(reply)
            if not reply.canceled:
                self._histories[reply.watch_id] = _History()
            return
        history = self._histories.get(reply.watch_id)
        if history is None:
            return self._fail(f"response for a watch that was never created:\n{reply}")
        if history.ended is not None and not (reply.canceled and history.ended.compact_revision):
            return self._fail(f"response after the end of watch {reply.watch_id}:\n{reply}")
        if reply.canceled:
            history.ended = reply
        elif not reply.events:
            return self._fail(f"response without events nobody asked for:\n{reply}")
        self._take_events(history, reply)

    def _take_events(self, history, reply):
        if not reply.events:
            return
        first = reply.events[0].kv.mod_revision
        if history.events and first <= history.events[-1].kv.mod_revision and (
                history.fragment_of != first):
            self._fail(f"watch {reply.watch_id}: revision {first} comes twice or in two responses")
        history.events.extend(reply.events)
        last = reply.events[-1].kv.mod_revision
        history.fragment_of = last if reply.fragment else None
        if reply.header.revision < last:
            self._fail(f"watch {reply.watch_id}: header older than its events:\n{reply}")

    def wait_for(self, condition, what):
        """Waits until condition(self) holds, and returns what it gives then."""
        with self._ready:
            outcome = None

            def done():
                nonlocal outcome
                outcome = condition(self)
                return outcome or self._failure
            if not self._ready.wait_for(done, timeout=_WAIT_SECONDS_MAX):
                raise WatchMismatch(f"{self.name}: no {what} within {_WAIT_SECONDS_MAX} s")
            if self._failure:
                raise WatchMismatch(self._failure)
            return outcome

    def created(self, count):
        return self.wait_for(lambda side: len(side._created) >= count and side._created[count - 1],
                             f"response to watch creation {count}")

    def marker_at(self, revision):
        def arrived(side):
            events = side._histories[MARKER_ID].events
            return events and events[-1].kv.mod_revision >= revision
        self.wait_for(arrived, f"marker event of revision {revision}")

    def canceled(self, watch_id, repeated):
        """The canceled response of a watch; `repeated` when an end was there before."""
        return self.wait_for(
            lambda side: side._histories[watch_id].ended
            if not repeated or not side._histories[watch_id].ended.compact_revision else None,
            f"canceled response of watch {watch_id}")

    def snapshot(self):
        """{watch id: (events, end)} as of now."""
        with self._ready:
            if self._failure:
                raise WatchMismatch(self._failure)
            return {watch_id: (list(history.events), history.ended)
                    for watch_id, history in self._histories.items()}


class PairedStream:
    """A watch stream to each of the two members, driven alike."""

    def __init__(self, reference, ours):
        """The arguments are members.Member."""
        self._sides = [_Side(reference.name, reference.client), _Side(ours.name, ours.client)]
        self._create_count = 0
        self._catch_up_until = 0
        self._requests = {}
        self._compacted_at_start = {}
        self._create_both(rpc.WatchCreateRequest(key=MARKER_KEY, watch_id=MARKER_ID))

    def _create_both(self, request):
        self._create_count += 1
        for side in self._sides:
            side.send(rpc.WatchRequest(create_request=request))
        return [side.created(self._create_count) for side in self._sides]

    def create(self, request, compacted):
        """Creates a watch on both. Returns its id, or None when both refused it alike."""
        old, new = self._create_both(request)
        _same(old, new, "created responses")
        if old.canceled:
            return None
        self._requests[old.watch_id] = request
        self._compacted_at_start[old.watch_id] = compacted
        if request.start_revision:
            self._catch_up_until = time.monotonic() + _CATCH_UP_SECONDS
        return old.watch_id

    def cancel(self, request, known):
        """Cancels a watch; `known` says whether an answer is due. Returns whether it was active."""
        before = self._sides[0].snapshot().get(request.watch_id) if known else None
        ended_before = bool(before and before[1])
        for side in self._sides:
            side.send(rpc.WatchRequest(cancel_request=request))
        if known:
            old, new = [side.canceled(request.watch_id, ended_before) for side in self._sides]
            _same(old, new, "canceled responses")

    def sync(self, marker_revision):
        """After a put of MARKER_KEY at this revision: all watches must have the same events.
        Returns the ids of watches that were ended by the server."""
        for side in self._sides:
            side.marker_at(marker_revision)
        time.sleep(max(0.0, self._catch_up_until - time.monotonic()))
        deadline = time.monotonic() + _WAIT_SECONDS_MAX
        while True:
            old, new = [side.snapshot() for side in self._sides]
            differing = [watch_id for watch_id in old if not self._agree(watch_id, old, new)]
            if not differing:
                return {watch_id for watch_id, (_, end) in old.items() if end is not None}
            if time.monotonic() > deadline:
                raise WatchMismatch(self._report(differing[0], old, new))
            time.sleep(0.01)

    def _agree(self, watch_id, old, new):
        if watch_id not in new:
            return False
        (old_events, old_end), (new_events, new_end) = old[watch_id], new[watch_id]
        if (old_end is None) != (new_end is None):
            return False
        if old_end is not None and _masked(old_end) != _masked(new_end):
            return False
        return old_events in (new_events, self._without_mask(watch_id, new_events))

    def _without_mask(self, watch_id, events):
        """WATCH-018: 3.4 may miss a deletion exactly at the compact revision the watch starts at,
        namely once the compaction is through."""
        request = self._requests.get(watch_id)
        compacted = self._compacted_at_start.get(watch_id)
        if request is None or compacted < 1 or request.start_revision != compacted:
            return events
        return [event for event in events if not (
            event.type == wire.kv.Event.DELETE and event.kv.mod_revision == compacted)]

    def _report(self, watch_id, old, new):
        lines = [f"watch {watch_id} differs; it was created with",
                 wire.show(self._requests.get(watch_id))]
        both = [histories.get(watch_id, ([], None)) for histories in (old, new)]
        first = next((i for i, (one, other) in enumerate(zip(both[0][0], both[1][0]))
                      if one != other), min(len(events) for events, _ in both))
        for side, (events, end) in zip(self._sides, both):
            lines.append(f"{side.name}: {len(events)} events, end: {end or 'none'}; around the "
                         f"first difference, number {first}:")
            lines += [_short(event) for event in events[max(first - 3, 0):first + 5]]
        return "\n".join(lines)

    def end(self):
        for side in self._sides:
            side.end()


def _short(event):
    kind = "DELETE" if event.type else "PUT"
    previous = f" prev {event.prev_kv.mod_revision}" if event.HasField("prev_kv") else ""
    return (f"  {kind} {event.kv.key!r} create {event.kv.create_revision} mod "
            f"{event.kv.mod_revision} version {event.kv.version} lease {event.kv.lease} "
            f"value {event.kv.value[:20]!r}{previous}")


def _masked(reply):
    """Without ids and term, the values to mask always."""
    copy = rpc.WatchResponse()
    copy.CopyFrom(reply)
    for field in ("cluster_id", "member_id", "raft_term"):
        if getattr(copy.header, field):
            setattr(copy.header, field, 1)
    return copy


def _same(old, new, what):
    if _masked(old) != _masked(new):
        raise WatchMismatch(f"{what} differ: expected\n{old}got\n{new}")
