"""Clusters of real processes: members lost and returned, added, promoted and removed, and a new one
made by force; what clients were told stays true."""

import os
import shutil
import subprocess
import tempfile
import threading
import time
import unittest

import grpc

import api
import case
import certificates
import member


class ClusterTest(case.ProcessesTest):
    # --- quorum

    def test_every_member_writes_and_reads(self):
        cluster = self.started(3)
        for index, m in enumerate(cluster.members):
            self.clients[m].put(b"k", b"%d" % index)
            for other in cluster.members:
                self.assertEqual(self.clients[other].value(b"k"), b"%d" % index)
        ids = {self.clients[m].status().header.cluster_id for m in cluster.members}
        self.assertEqual(len(ids), 1)
        self.same_hashes(cluster.members)
        self.no_errors(cluster)

    def test_leader_killed_and_returned(self):
        cluster = self.started(3)
        for round_number in range(3):
            leader = self.leader_of(cluster)
            others = [m for m in cluster.members if m is not leader]
            key = b"round%d" % round_number
            self.clients[others[0]].put(key, b"before")
            leader.kill()
            self.put_somewhere(others, key, b"after")
            leader.start()
            self.assertEqual(self.clients[leader].value(key), b"after")
        self.same_hashes(cluster.members)

    def test_without_a_quorum_nothing_is_acknowledged_and_local_reads_go_on(self):
        cluster = self.started(3)
        self.clients[cluster.members[0]].put(b"k", b"v")
        self.until("applied", lambda: self.clients[cluster.members[2]].get(
            b"k", serializable=True).count == 1)
        for m in cluster.members[:2]:
            m.kill()
        left = self.client(cluster.members[2], timeout_seconds=2)
        with self.assertRaises(grpc.RpcError):
            left.put(b"k", b"lost")
        with self.assertRaises(grpc.RpcError):
            left.get(b"k")
        self.assertEqual(left.get(b"k", serializable=True).kvs[0].value, b"v")
        for m in cluster.members[:2]:
            m.start()
        self.until("a put", lambda: left.put(b"k", b"again"))

    def test_stop_of_the_leader_hands_over_first(self):
        cluster = self.started(3)
        leader = self.leader_of(cluster)
        others = [m for m in cluster.members if m is not leader]
        leader.terminate()
        self.assertIn("leadership transfer finished", leader.messages())
        # Handed over, not timed out: an election timeout would take a second or more.
        began = time.monotonic()
        self.put_somewhere(others, b"k", b"v")
        self.assertLess(time.monotonic() - began, 0.9)

    def test_all_killed_at_once_lose_nothing(self):
        cluster = self.started(3)
        acknowledged = []
        stop = threading.Event()

        def write(m):
            number = 0
            while not stop.is_set():
                key = b"%s-%d" % (m.name.encode(), number)
                try:
                    self.clients[m].put(key, b"v")
                    acknowledged.append(key)
                except grpc.RpcError:
                    return
                number += 1

        writers = [threading.Thread(target=write, args=(m,)) for m in cluster.members]
        for writer in writers:
            writer.start()
        self.until("writes", lambda: len(acknowledged) > 300)
        for m in cluster.members:
            m.kill()
        stop.set()
        for writer in writers:
            writer.join()
        cluster.start()
        for m in cluster.members:
            found = {kv.key for kv in self.clients[m].get(b"m", range_end=b"n").kvs}
            self.assertEqual(set(acknowledged) - found, set())
        self.same_hashes(cluster.members)

    # --- leases

    def test_leases_through_followers(self):
        cluster = self.started(3)
        leader = self.leader_of(cluster)
        follower = next(m for m in cluster.members if m is not leader)
        client = self.clients[follower]
        lease = client.grant(60).ID
        client.put(b"k", b"v", lease=lease)
        reply = next(client.LeaseKeepAlive(iter([api.LeaseKeepAliveRequest(ID=lease)])))
        self.assertEqual(reply.TTL, 60)
        left = client.LeaseTimeToLive(api.LeaseTimeToLiveRequest(ID=lease, keys=True), timeout=10)
        self.assertEqual((left.grantedTTL, list(left.keys)), (60, [b"k"]))
        unknown = client.LeaseTimeToLive(api.LeaseTimeToLiveRequest(ID=lease + 1), timeout=10)
        self.assertEqual(unknown.TTL, -1)
        reply = next(client.LeaseKeepAlive(iter([api.LeaseKeepAliveRequest(ID=lease + 1)])))
        self.assertEqual(reply.TTL, 0)
        client.LeaseRevoke(api.LeaseRevokeRequest(ID=lease), timeout=10)
        self.assertIsNone(client.value(b"k"))

    # --- images

    def test_member_that_lags_gets_an_image_and_its_watchers_miss_nothing(self):
        cluster = self.started(3, "--snapshot-count", "50", "--snapshot-catchup-entries", "5")
        leader = self.leader_of(cluster)
        lagging = next(m for m in cluster.members if m is not leader)
        self.clients[leader].put(b"k", b"0")
        lagging.kill()
        others = [m for m in cluster.members if m is not lagging]
        for number in range(1, 301):
            self.clients[leader].put(b"k", b"%d" % number)
        self.clients[leader].grant(1000, lease_id=77)
        lagging.start()
        self.assertIn("applied snapshot", lagging.messages())
        self.assertEqual(self.clients[lagging].value(b"k"), b"300")
        self.assertEqual(self.clients[lagging].leases(), {77})
        events = self.clients[lagging].history(2, 302)
        self.assertEqual([event.kv.value for _, of_one in events for event in of_one
                          if event.kv.key == b"k"], [b"%d" % n for n in range(301)])
        self.same_hashes(cluster.members)
        # The image is the backend of later starts too, and the former one is gone.
        lagging.kill()
        lagging.start()
        self.clients[lagging] = self.client(lagging, timeout_seconds=10)  # a fresh connection
        self.assertEqual(self.clients[lagging].value(b"k"), b"300")
        self.put_somewhere(others, b"k", b"last")
        self.same_hashes(cluster.members)

    # --- members

    def test_learner_joins_serves_little_and_is_promoted(self):
        cluster = self.started(3)
        first = cluster.members[0]
        self.clients[first].put(b"k", b"v")
        joiner = cluster.joiner()
        added = self.until("an addition", lambda: self.clients[first].MemberAdd(
            api.message("MemberAddRequest")(peerURLs=[joiner.peer_url], isLearner=True),
            timeout=10))
        self.assertTrue(added.member.isLearner)
        self.assertEqual(len(added.members), 4)
        joiner.start()
        self.clients[joiner] = self.client(joiner, timeout_seconds=10)
        self.assertTrue(self.clients[joiner].status().isLearner)
        self.assert_code(grpc.StatusCode.FAILED_PRECONDITION, "rpc not supported for learner",
                         self.clients[joiner].put, b"k", b"x")
        self.until("data", lambda: self.clients[joiner].get(
            b"k", serializable=True).kvs[0].value == b"v")
        # Promoted through a member that does not lead: it passes the request on.
        follower = next(m for m in cluster.members[:3] if m is not self.leader_of(cluster))
        promoted = self.until("a promotion", lambda: self.clients[follower].MemberPromote(
            api.message("MemberPromoteRequest")(ID=added.member.ID), timeout=10))
        self.assertFalse(any(m.isLearner for m in promoted.members))
        self.until("a voter", lambda: self.clients[joiner].put(b"k", b"w"))
        self.same_hashes(cluster.members)

    def test_removed_member_stops_and_stays_out(self):
        cluster = self.started(3)
        leader = self.leader_of(cluster)
        gone = next(m for m in cluster.members if m is not leader)
        gone_id = self.clients[gone].status().header.member_id
        self.until("a removal", lambda: self.clients[leader].MemberRemove(
            api.message("MemberRemoveRequest")(ID=gone_id), timeout=10))
        self.assertEqual(gone.wait(), 0)
        self.assertTrue(any("permanently removed" in line.get("error", "") for line in gone.log()))
        # Its data directory is of no use any more, and it says so.
        self.assertNotEqual(gone.run_to_end(), None)
        self.assertIn("permanently removed", gone.log_text())
        self.put_somewhere([m for m in cluster.members if m is not gone], b"k", b"v")

    def test_leader_removes_itself(self):
        cluster = self.started(3)
        leader = self.leader_of(cluster)
        leader_id = self.clients[leader].status().header.member_id
        self.until("a removal", lambda: self.clients[leader].MemberRemove(
            api.message("MemberRemoveRequest")(ID=leader_id), timeout=10))
        self.assertEqual(leader.wait(), 0)
        others = [m for m in cluster.members if m is not leader]
        self.put_somewhere(others, b"k", b"v")
        self.assertEqual(len(self.clients[others[0]].MemberList(
            api.message("MemberListRequest")(), timeout=10).members), 2)

    def test_reconfiguration_is_refused_while_a_member_is_down(self):
        cluster = self.started(3)
        leader = self.leader_of(cluster)
        next(m for m in cluster.members if m is not leader).kill()
        time.sleep(0.2)
        self.assert_code(grpc.StatusCode.UNAVAILABLE, "unhealthy cluster",
                         self.clients[leader].MemberAdd,
                         api.message("MemberAddRequest")(peerURLs=["http://127.0.0.1:1"]),
                         timeout=10)

    def test_update_of_peer_urls_is_followed(self):
        cluster = self.started(3)
        moved = cluster.members[2]
        moved_id = self.clients[moved].status().header.member_id
        port = member.free_port()
        self.clients[cluster.members[0]].MemberUpdate(
            api.message("MemberUpdateRequest")(ID=moved_id, peerURLs=[f"http://127.0.0.1:{port}"]),
            timeout=10)
        moved.kill()
        moved.peer_port = port
        moved.start()
        self.put_somewhere(cluster.members[:2], b"k", b"v")
        self.until("data", lambda: self.clients[moved].value(b"k") == b"v")

    def test_move_leader(self):
        cluster = self.started(3)
        leader = self.leader_of(cluster)
        target = next(m for m in cluster.members if m is not leader)
        target_id = self.clients[target].status().header.member_id
        request = api.message("MoveLeaderRequest")(targetID=target_id)
        self.assert_code(grpc.StatusCode.FAILED_PRECONDITION, "not leader",
                         self.clients[target].MoveLeader, request, timeout=10)
        self.assert_code(grpc.StatusCode.FAILED_PRECONDITION, "bad leader transferee",
                         self.clients[leader].MoveLeader,
                         api.message("MoveLeaderRequest")(targetID=1), timeout=10)
        self.clients[leader].MoveLeader(request, timeout=10)
        self.assertIs(self.leader_of(cluster), target)

    # --- TLS between members

    def test_members_that_show_each_other_certificates(self):
        scratch = tempfile.mkdtemp(prefix="etcdd-e2e-")
        self.addCleanup(shutil.rmtree, scratch)
        authority = certificates.Authority(scratch)
        certificate, key = authority.issue("member")
        tls = ["--peer-cert-file", certificate, "--peer-key-file", key, "--peer-trusted-ca-file",
               authority.ca, "--peer-client-cert-auth"]
        cluster = self.cluster(3, *tls, scheme="https").start()
        self.clients = {m: self.client(m, timeout_seconds=10) for m in cluster.members}
        self.clients[cluster.members[0]].put(b"k", b"v")
        self.assertEqual(self.clients[cluster.members[2]].value(b"k"), b"v")
        # Nobody without a certificate of this authority gets in.
        strange, strange_key = certificates.Authority(scratch, "another").issue("stranger")
        peer = cluster.members[0].peer_url
        for shown in ([], ["--cert", strange, "--key", strange_key]):
            refused = subprocess.run(["curl", "-sS", "--cacert", authority.ca, *shown,
                                      peer + "/members"], capture_output=True, check=False)
            self.assertNotEqual(refused.returncode, 0, refused)
        allowed = subprocess.run(["curl", "-sS", "--cacert", authority.ca, "--cert", certificate,
                                  "--key", key, peer + "/members"], capture_output=True,
                                 check=True)
        self.assertIn(b"peerURLs", allowed.stdout)
        # Certificates are exchanged under way: members that reconnect use the new ones.
        renewed, renewed_key = authority.issue("renewed")
        os.replace(renewed_key, key)
        os.replace(renewed, certificate)
        lost = cluster.members[1]
        lost.kill()
        lost.start()
        self.clients[lost] = self.client(lost, timeout_seconds=10)
        self.assertEqual(self.clients[lost].value(b"k"), b"v")
        self.put_somewhere(cluster.members, b"k", b"w")
        self.same_hashes(cluster.members)

    def test_members_with_certificates_of_their_own_making(self):
        cluster = self.cluster(3, "--peer-auto-tls", scheme="https").start()
        client = self.client(cluster.members[0])
        client.put(b"k", b"v")
        self.assertEqual(self.client(cluster.members[1]).value(b"k"), b"v")

    # --- starts

    def test_force_new_cluster_keeps_data_and_goes_on_alone(self):
        cluster = self.started(3)
        kept = cluster.members[0]
        self.clients[kept].put(b"k", b"v")
        before = self.clients[kept].status().header
        # In order: of a killed member only what its log knew to be committed is kept, as with etcd,
        # and that may be without the last writes.
        kept.terminate()
        for m in cluster.members[1:]:
            m.kill()
        kept.args.append("--force-new-cluster")
        kept.start()
        self.clients[kept] = self.client(kept, timeout_seconds=10)  # a fresh connection
        after = self.clients[kept].status().header
        self.assertEqual((after.cluster_id, after.member_id),
                         (before.cluster_id, before.member_id))
        self.assertEqual(self.clients[kept].value(b"k"), b"v")
        self.clients[kept].put(b"k", b"alone")
        self.assertEqual(len(self.clients[kept].MemberList(
            api.message("MemberListRequest")(), timeout=10).members), 1)
        # The others may not come back into it.
        other = cluster.members[1].launch()
        self.assertEqual(other.wait(), 0)
        self.assertTrue(any("permanently removed" in line.get("error", "")
                            for line in other.log()))

    def test_joining_is_refused_with_a_reason(self):
        cluster = self.started(1)
        joiner = cluster.joiner()
        self.assertEqual(joiner.run_to_end(), 1)
        self.assertIn("member count is unequal", joiner.log_text())
        lonely = member.Cluster(2)
        self.addCleanup(lonely.stop)
        alone = lonely.members[0]
        alone.args += ["--initial-cluster-state", "existing"]
        self.assertEqual(alone.run_to_end(), 1)
        self.assertIn("cannot fetch cluster info from peer urls", alone.log_text())

    def test_member_that_lost_its_data_is_not_taken_for_a_new_one(self):
        cluster = self.started(3)
        lost = cluster.members[2]
        lost.kill()
        subprocess.run(["rm", "-rf", lost.data_dir], check=True)
        self.assertEqual(lost.run_to_end(), 1)
        self.assertIn("has already been bootstrapped", lost.log_text())


if __name__ == "__main__":
    unittest.main()
