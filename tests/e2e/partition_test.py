"""Clusters under load whose network is cut: the leader alone, one way only, now and then.

Clients reach every member all the time, the one that is cut off too. `--slow` as chaos_test.
"""

import sys
import time
import unittest

import grpc

import chaos
import history
import netns
from chaos_case import SLOW, ChaosCase

_REASON = netns.usable()


@unittest.skipIf(_REASON, _REASON)
class PartitionTest(ChaosCase):
    def cut_cluster(self, size=3):
        self.net = netns.Network(size)
        self.addCleanup(self.net.close)
        return self.chaos(size, places=self.net.places)

    def test_leader_cut_off(self):
        """The others elect a new one; the old one, which clients still reach, answers no
        linearizable read from its past and acknowledges nothing that is lost."""
        size = 5 if SLOW else 3
        cluster, load = self.cut_cluster(size)
        for round_number in range(10 if SLOW else 1):
            leader = self.leader_of(cluster)
            others = [m for m in cluster.members if m is not leader]
            self.renew(leader)
            self.clients[leader].get(b"k")
            self.net.isolate(cluster.members.index(leader))
            self.assertIsNot(self.leader_among(others), leader)
            load.progress(20)
            reads = []
            for key in chaos.KEYS:
                op = history.Op(1000 + round_number, "get", key, time.monotonic())
                reads.append((op, chaos.send(self.clients[leader], op, timeout=1)))
            for op, future in reads:
                # A read may wait, fail, or be answered after all; it may not be stale.
                try:
                    chaos.settle_reply(op, future.result(), time.monotonic())
                    load.extra.append(op)
                except grpc.RpcError as error:
                    self.assertIn(error.code(), (grpc.StatusCode.UNAVAILABLE,
                                                 grpc.StatusCode.DEADLINE_EXCEEDED), error)
            self.assertTrue(all(not op.known for op, _ in reads), "answered without a quorum")
            self.net.heal()
            load.progress(20)
        self.finish(cluster, load)

    def test_one_way_cuts(self):
        """What the leader sends does not arrive, then what is sent to it."""
        cluster, load = self.cut_cluster()
        for _ in range(10 if SLOW else 1):
            for outgoing in True, False:
                place = cluster.members.index(self.leader_of(cluster))
                for other in range(len(cluster.members)):
                    if other != place:
                        self.net.cut(*((place, other) if outgoing else (other, place)))
                load.progress(20)
                self.net.heal()
                load.progress(20)
        self.finish(cluster, load)

    def test_link_between_two_followers_cut(self):
        cluster, load = self.cut_cluster()
        leader = cluster.members.index(self.leader_of(cluster))
        one, two = [place for place in range(3) if place != leader]
        self.net.cut(one, two)
        self.net.cut(two, one)
        term = self.clients[cluster.members[leader]].status().raftTerm
        load.progress(500 if SLOW else 50)
        # Both hear the leader: nobody calls an election.
        self.assertEqual(self.clients[cluster.members[leader]].status().raftTerm, term)
        self.net.heal()
        self.finish(cluster, load)

    def test_flapping(self):
        cluster, load = self.cut_cluster()
        for _ in range(100 if SLOW else 8):
            self.net.isolate(self.rng.randrange(3))
            time.sleep(self.rng.random() * 0.8)
            self.net.heal()
            time.sleep(self.rng.random() * 0.2)
        load.progress(20)
        self.finish(cluster, load)


if __name__ == "__main__":
    unittest.main(argv=[arg for arg in sys.argv if arg != "--slow"])
