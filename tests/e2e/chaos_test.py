"""Clusters under load while members are killed, paused, wiped, replaced and left behind.

After each: every acknowledged write is there, histories are linearizable, every watcher has seen
everything once and in order, all members have equal hashes, and none has logged an error.

  chaos_test.py            the short form, a minute
  chaos_test.py --slow     as often and as long as it takes to find what is rare
"""

import signal
import subprocess
import sys
import time
import unittest

import grpc

import api
import chaos
import history
from chaos_case import SLOW, ChaosCase


class ChaosTest(ChaosCase):
    def kill_and_return(self, load, victims):
        for m in victims:
            m.kill()
        time.sleep(self.rng.random() * 0.2)   # how far the others get is not the test's to say
        for m in victims:
            self.no_error(m)
            m.launch()
        for m in victims:
            m.wait_for_log(m.ready)
            self.renew(m)
        load.progress(20)

    # --- kills

    def kills(self, size, rounds):
        cluster, load = self.chaos(size, "--snapshot-count", "300",
                                   "--snapshot-catchup-entries", "50")
        for _ in range(rounds):
            for kind in "leader", "follower", "majority", "all":
                leader = self.leader_of(cluster)
                followers = [m for m in cluster.members if m is not leader]
                self.rng.shuffle(followers)
                self.kill_and_return(load, {
                    "leader": [leader], "follower": followers[:1],
                    "majority": [leader] + followers[:size // 2], "all": cluster.members}[kind])
        self.finish(cluster, load)

    def test_kill_leader_follower_majority_all_of_three(self):
        self.kills(3, 10 if SLOW else 1)

    @unittest.skipUnless(SLOW, "--slow")
    def test_kill_leader_follower_majority_all_of_five(self):
        self.kills(5, 10)

    def test_minority_stays_down_and_the_rest_goes_on(self):
        """No majority without the others: writes go on through those that are left alone."""
        size = 5 if SLOW else 3
        cluster, load = self.chaos(size)
        down = self.rng.sample(cluster.members, size // 2)
        for m in down:
            m.kill()
        load.progress(2000 if SLOW else 100)
        for m in down:
            self.restart(m)
        self.finish(cluster, load)

    def test_rolling_restart(self):
        cluster, load = self.chaos(5 if SLOW else 3)
        for _ in range(5 if SLOW else 1):
            for m in cluster.members:
                self.assertEqual(m.terminate(), 0)
                self.restart(m)
                load.progress(20)
        self.finish(cluster, load)

    # --- pauses

    def test_paused_leader_serves_no_stale_reads_afterwards(self):
        cluster, load = self.chaos(3)
        for round_number in range(20 if SLOW else 2):
            leader = self.leader_of(cluster)
            others = [m for m in cluster.members if m is not leader]
            self.renew(leader)
            asking = self.clients[leader]
            asking.get(b"k")   # connected
            leader.signal(signal.SIGSTOP)
            new = self.leader_among(others)
            self.assertIsNot(new, leader)
            load.progress(20)
            # In its socket when it wakes up, before it can have heard of the new leader.
            waiting = []
            for number in range(20):
                op = history.Op(1000 + round_number, "get", chaos.KEYS[number % len(chaos.KEYS)],
                                time.monotonic())
                waiting.append((op, chaos.send(asking, op, timeout=10)))
            leader.signal(signal.SIGCONT)
            answered = 0
            for op, future in waiting:
                try:
                    chaos.settle_reply(op, future.result(), time.monotonic())
                    load.extra.append(op)
                    answered += 1
                except grpc.RpcError as error:
                    self.assertEqual(error.code(), grpc.StatusCode.UNAVAILABLE, error)
            load.progress(20)
        self.finish(cluster, load)

    # --- membership

    def change(self, what, request, among):
        """A change of the membership through whoever takes it; it is made once. A reply that was
        lost shows in what the next attempt is told."""
        def attempt():
            for m in among:
                try:
                    return request(self.clients[m])
                except grpc.RpcError as error:
                    if "already" in error.details() or "member not found" in error.details():
                        return error
            return None
        return self.until(what, attempt)

    def member_id(self, m):
        return self.until("an id", lambda: self.clients[m].status().header.member_id)

    def add(self, cluster, load, learner=False):
        before = list(cluster.members)
        joiner = cluster.joiner()
        self.change("an addition", lambda client: client.MemberAdd(api.message("MemberAddRequest")(
            peerURLs=[joiner.peer_url], isLearner=learner), timeout=5), before)
        joiner.start()
        self.renew(joiner)
        if learner:
            joiner_id = self.member_id(joiner)
            self.change("a promotion", lambda client: client.MemberPromote(
                api.message("MemberPromoteRequest")(ID=joiner_id), timeout=5), before)
        load.joined(joiner)
        return joiner

    def remove(self, cluster, load, gone):
        gone_id = self.member_id(gone)
        load.left(gone)
        self.change("a removal", lambda client: client.MemberRemove(
            api.message("MemberRemoveRequest")(ID=gone_id), timeout=5),
            [m for m in cluster.members if m is not gone] + [gone])
        self.assertEqual(gone.wait(), 0)
        self.no_error(gone)
        cluster.forget(gone)

    def test_membership_changes_in_a_row(self):
        """Each round replaces a member, the leader too, by a new one: two or three changes."""
        cluster, load = self.chaos(3)
        for round_number in range(100 if SLOW else 3):
            self.add(cluster, load, learner=round_number % 2 == 1)
            gone = (self.leader_of(cluster) if round_number % 3 == 2
                    else self.rng.choice(cluster.members))
            self.remove(cluster, load, gone)
            load.progress(20)
        self.finish(cluster, load)

    def test_wiped_member_is_removed_and_added_again(self):
        cluster, load = self.chaos(3)
        for _ in range(10 if SLOW else 1):
            wiped = self.rng.choice(cluster.members)
            wiped_id = self.member_id(wiped)
            wiped.kill()
            subprocess.run(["rm", "-rf", wiped.data_dir], check=True)
            others = [m for m in cluster.members if m is not wiped]
            self.change("a removal", lambda client: client.MemberRemove(
                api.message("MemberRemoveRequest")(ID=wiped_id), timeout=5), others)
            self.change("an addition", lambda client: client.MemberAdd(
                api.message("MemberAddRequest")(peerURLs=[wiped.peer_url]), timeout=5), others)
            wiped.args += ["--initial-cluster-state", "existing",
                           "--initial-cluster", cluster.initial_cluster()]
            self.restart(wiped)
            self.assertNotEqual(self.member_id(wiped), wiped_id)
            load.progress(20)
        self.finish(cluster, load)

    # --- images

    def test_follower_left_behind_catches_up_by_image(self):
        puts, keep = (100_000, 5000) if SLOW else (3000, 200)
        cluster, load = self.chaos(3, "--snapshot-count", str(keep),
                                   "--snapshot-catchup-entries", str(keep // 2))
        leader = self.leader_of(cluster)
        behind = next(m for m in cluster.members if m is not leader)
        behind.kill()
        last = self.put_many(leader, puts)
        self.restart(behind)
        self.assertIn("applied snapshot", behind.messages())
        self.assertGreaterEqual(self.clients[behind].get(b"k").header.revision, last)
        self.finish(cluster, load)

    def put_many(self, to, puts):
        """Puts as fast as one connection takes them; returns the last revision."""
        client, last = self.clients[to], 0
        for first in range(0, puts, 1000):
            calls = [client.Put.future(api.PutRequest(key=b"many%d" % n, value=b"v" * 100),
                                       timeout=30) for n in range(first, first + 1000)]
            last = max(call.result().header.revision for call in calls)
        return last


if __name__ == "__main__":
    unittest.main(argv=[arg for arg in sys.argv if arg != "--slow"])
