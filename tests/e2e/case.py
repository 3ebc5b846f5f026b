"""What the tests of this folder have in common."""

import time
import unittest

import grpc

import api
import member


class MemberTest(unittest.TestCase):
    """A test with members that are gone when it ends."""

    def member(self, *args, **options):
        made = member.Member(*args, **options)
        self.addCleanup(made.stop)
        return made

    def client(self, of, **options):
        made = api.Client(of.endpoint, **options)
        self.addCleanup(made.close)
        return made

    def assert_code(self, code, text, call, *args, **fields):
        """The call fails with this gRPC code and a message that contains the text."""
        with self.assertRaises(grpc.RpcError) as caught:
            call(*args, **fields)
        self.assertEqual(caught.exception.code(), code, caught.exception)
        self.assertIn(text, caught.exception.details())


class ClusterTest(MemberTest):
    """A test with several members of one cluster; self.clients has a client for each."""

    def until(self, what, condition, seconds=member.PATIENCE_SECONDS):
        """Waits until condition() is true; errors of requests count as false."""
        over = member.deadline(seconds)
        while True:
            try:
                value = condition()
                if value:
                    return value
            except grpc.RpcError:
                pass
            if over():
                self.fail(f"not within {seconds} s: {what}")
            time.sleep(0.02)

    def leader_among(self, members):
        """The one of these members that leads, once they agree."""
        def agreed():
            views = [(m, self.clients[m].status()) for m in members]
            leaders = {status.leader for _, status in views}
            if len(leaders) != 1:
                return None
            for m, status in views:
                if status.header.member_id in leaders:
                    return m
            return None
        return self.until("a leader", agreed)

    def put_somewhere(self, members, key, value):
        """Puts through whoever takes it, as a client with several endpoints does."""
        def put():
            for m in members:
                try:
                    return self.clients[m].put(key, value)
                except grpc.RpcError:
                    continue
            return None
        return self.until("a put", put)

    def same_hashes(self, members):
        def same():
            replies = [self.clients[m].hash_kv() for m in members]
            return len({(r.hash, r.hash_revision) for r in replies}) == 1
        self.until("equal hashes", same)


class ProcessesTest(ClusterTest):
    """A test with clusters of real processes."""

    def cluster(self, size, *args, **options):
        made = member.Cluster(size, *args, **options)
        self.addCleanup(made.stop)
        return made

    def leader_of(self, cluster):
        """The member that leads, once those that run agree."""
        return self.leader_among(
            [m for m in cluster.members if m.process and m.process.poll() is None])

    def started(self, size, *args, **options):
        cluster = self.cluster(size, *args, **options).start()
        self.clients = {m: self.client(m, timeout_seconds=10) for m in cluster.members}
        return cluster

    def no_errors(self, cluster):
        for m in cluster.members:
            self.assertEqual(m.errors(), [], m.name)
