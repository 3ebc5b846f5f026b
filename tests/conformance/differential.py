"""The differential test: the same random requests to etcd 3.4.23 and to etcdd, answers compared.

    /usr/bin/python3 -B differential.py --etcdd BINARY [--seeds 20] [--requests 500]
    /usr/bin/python3 -B differential.py --etcdd BINARY --seed 7 [--stop-at 123] [--trace]

The first form runs seeds 1..N; the second one seed, to look at a mismatch again. Every seed starts
two fresh one-member clusters. A mismatch prints seed, number of the request, the request and both
answers, and is the end with exit code 1. Exit code 77: there is nothing to compare with.
"""

import argparse
import contextlib
import math
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import generator
import masks
import members
import range_stream
import watches
import wire

rpc = wire.rpc


class Mismatch(Exception):
    pass


class KeepAlives:
    """One keepalive stream, used in turns of a request and its reply."""

    def __init__(self, client):
        self._stream = client.stream("LeaseKeepAlive")
        self._replies = self._stream.replies()

    def call(self, request):
        self._stream.send(request)
        return wire.Answer("OK", "", next(self._replies))

    def end(self):
        self._stream.cancel()


class CompactionHashes:
    """Which hash a compaction must have stored (MAINT-029): the one HashKV gave before it. Where
    no key is alive the two may differ, since a compaction keeps a deletion at its own revision,
    and only a set that keeps nothing makes every record count (MAINT-027)."""

    def __init__(self):
        self.stored = None
        self._known = {}
        self._all_removed = False  # Nothing is sure of compactions before our time.

    def learn(self, request, answer, compacted):
        """`compacted` is the compact revision before this request."""
        if isinstance(request, rpc.HashKVRequest) and answer.ok and request.revision > 0:
            self._known[request.revision] = answer.reply
        if isinstance(request, rpc.RangeRequest) and answer.ok and request.count_only and (
                request.range_end == b"\0" and answer.reply.count == 0):
            self._known.pop(request.revision, None)
        if not isinstance(request, rpc.CompactionRequest):
            return
        if answer.ok:
            known = self._known.get(request.revision)
            sure = self._all_removed and known is not None and known.compact_revision == compacted
            self.stored = known if sure else None
            self._known = {}
            self._all_removed = False
        # Also one that is refused waits for the removal (KV-073).
        self._all_removed |= request.physical and (answer.ok or "compacted" in answer.text)


class Run:
    """One seed on two fresh members."""

    def __init__(self, seed, reference, ours):
        self._members = [reference, ours]
        self._generator = generator.Generator(seed)
        self._hashes = CompactionHashes()
        self._ttl_slack_seconds = 1
        self._open_streams()

    def _open_streams(self):
        self._streams = [watches.PairedStream(*self._members)
                         for _ in range(generator.Generator.STREAMS)]
        self._keepalives = [KeepAlives(member.client) for member in self._members]

    def close(self):
        for stream in self._streams:
            stream.end()
        for keepalive in self._keepalives:
            keepalive.end()

    def in_sequence(self):
        return self._generator.in_sequence()

    def step(self):
        """One action. Returns it; a mismatch is raised with the action as its first argument."""
        action = self._generator.next()
        try:
            self._do(action)
        except (Mismatch, watches.WatchMismatch) as problem:
            raise Mismatch(f"{action}\n{problem}") from problem
        return action

    def _do(self, action):
        if action.kind == "unary":
            pending = [member.client.start(action.name, action.request)
                       for member in self._members]
            self._judge(action, [each.answer() for each in pending])
        elif action.kind == "keepalive":
            self._judge(action, [each.call(action.request) for each in self._keepalives])
        elif action.kind == "watch":
            watch_id = self._streams[action.stream].create(
                action.request, self._generator.store.compacted)
            if watch_id is not None:
                self._generator.learn_watch(action.stream, watch_id, active=True)
        elif action.kind == "cancel":
            watch_id = action.request.watch_id
            known = self._generator.is_active(action.stream, watch_id)
            self._streams[action.stream].cancel(action.request, known)
            self._generator.learn_watch(action.stream, watch_id, active=False)
        elif action.kind == "end_stream":
            self._streams[action.stream].end()
            self._streams[action.stream] = watches.PairedStream(*self._members)
            self._generator.learn_end_of_stream(action.stream)
        elif action.kind == "restart":
            self._restart()
        else:
            self.sync()

    def _restart(self):
        """Starts both again on their data, etcdd after kill -9. The reference may end in peace:
        3.4.23 applies entries a second time that its backend had not committed, and then has
        revisions that it never had before (CONS-012 is 3.7's)."""
        self.close()
        reference, ours = self._members
        ours.stop()
        reference.stop(by_kill=False)
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(members.Member.start, self._members))
        one, other = [member.started_at for member in self._members]
        self._ttl_slack_seconds = 1 + math.ceil(abs(one - other))
        self._hashes = CompactionHashes()
        self._generator.learn_restart()
        self._open_streams()

    def _judge(self, action, answers):
        for member in self._members:
            if not member.alive():
                raise Mismatch(f"{member.name} died:\n{member.log_tail()}")
        store = self._generator.store
        self._hashes.learn(action.request, answers[0], store.compacted)
        self._generator.learn(action, answers[0])
        context = masks.Context(store.revision, store.compacted, self._hashes.stored,
                                self._ttl_slack_seconds)
        difference = masks.difference(action.request, *answers, context)
        if difference:
            raise Mismatch(difference)
        if isinstance(action.request, rpc.RangeRequest) and answers[1].ok:
            problem = range_stream.difference(self._members[1].client, action.request, answers[1])
            if problem:
                raise Mismatch(f"RangeStream: {problem}")

    def sync(self):
        """Brings all watches to the present and compares them."""
        put = rpc.PutRequest(key=watches.MARKER_KEY, value=b"")
        if self._generator.store.nospace:
            raise Mismatch("the generator must not sync while writes are refused")
        action = generator.Action("unary", "Put", put)
        self._do(action)
        for stream in self._streams:
            stream.sync(self._generator.store.revision)


def start_pair(reference_path, etcdd_path):
    """Both members, started side by side. The caller ends them with __exit__."""
    pair = [members.Member("etcd", reference_path), members.Member("etcdd", etcdd_path)]
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda member: member.__enter__(), pair))


def run_seed(pair, seed, requests, trace):
    """Whether all answers were right; prints what was not."""
    with contextlib.closing(Run(seed, *pair)) as run:
        number = 0
        try:
            while number < requests or run.in_sequence():
                number += 1
                action = run.step()
                if trace:
                    print(f"{number}: {action}", flush=True)
            number += 1
            run.sync()
        except (Mismatch, watches.WatchMismatch) as problem:
            print(f"MISMATCH: seed {seed}, request {number}: {problem}\n"
                  f"Again: --seed {seed} --stop-at {number}", flush=True)
            return False
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--etcdd", required=True, help="path of the etcdd binary")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--seed", type=int, help="only this seed")
    parser.add_argument("--stop-at", type=int, help="with --seed: the last request to send")
    parser.add_argument("--trace", action="store_true", help="print every request")
    parser.add_argument("--keep-going", action="store_true", help="run the seeds after a mismatch")
    arguments = parser.parse_args()
    reference_path = members.reference_or_skip()
    seeds = [arguments.seed] if arguments.seed is not None else range(1, arguments.seeds + 1)
    requests = arguments.stop_at or arguments.requests
    failed = []
    # The next pair starts while the present one works.
    with ThreadPoolExecutor(1) as starter:
        coming = starter.submit(start_pair, reference_path, arguments.etcdd)
        for i, seed in enumerate(seeds):
            pair = coming.result()
            if i + 1 < len(seeds):
                coming = starter.submit(start_pair, reference_path, arguments.etcdd)
            start = time.monotonic()
            try:
                if not run_seed(pair, seed, requests, arguments.trace):
                    failed.append(seed)
            finally:
                for member in pair:
                    member.__exit__()
            print(f"seed {seed}: {'failed' if seed in failed else 'ok'}, "
                  f"{time.monotonic() - start:.1f} s", flush=True)
            if failed and not arguments.keep_going:
                break
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
