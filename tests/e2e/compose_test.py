#!/usr/bin/env python3
"""The image and the compose file: a cluster in containers whose members are killed, cut off the
network and returned. Nothing acknowledged is lost, and no linearizable read is stale."""

import os
import shutil
import subprocess
import sys
import threading
import unittest

import grpc

import case
import compose
import member

_SKIPPED = 77  # SKIP_RETURN_CODE in CMakeLists.txt
# A member that is cut off answers an error or nothing; both within this time.
_CUT_OFF_SECONDS = 3


class Writers:
    """A thread per member that puts one key after another and remembers what was acknowledged."""

    def __init__(self, clients):
        self.acknowledged = {}  # key -> value
        self.answers = {m: 0 for m in clients}
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(index, m, client))
                         for index, (m, client) in enumerate(clients.items())]
        for thread in self._threads:
            thread.start()

    def _write(self, index, m, client):
        number = 0
        while not self._stop.is_set():
            number += 1
            key, value = b"w%d-%06d" % (index, number), b"%d" % number
            try:
                client.put(key, value, timeout=_CUT_OFF_SECONDS)
            except grpc.RpcError:
                continue  # may be there or not
            self.acknowledged[key] = value
            self.answers[m] += 1

    def stop(self):
        self._stop.set()
        for thread in self._threads:
            thread.join()


class ComposeTest(case.ClusterTest):
    base = None  # the base image's name

    @classmethod
    def setUpClass(cls):
        cls.cluster = compose.Compose(cls.base)
        cls.addClassCleanup(cls.cluster.stop)
        cls.cluster.build()
        cls.cluster.up()

    def setUp(self):
        self.members = self.cluster.members
        self.clients = {m: self.client(m, timeout_seconds=10) for m in self.members}
        try:
            self.all_serve()
        except AssertionError:
            print(self.cluster.logs(), file=sys.stderr)
            raise

    def all_serve(self):
        for m in self.members:
            self.until(f"{m.container} serves", lambda m=m: self.clients[m].get(b"k"))

    def others(self, than):
        return [m for m in self.members if m is not than]

    def follower(self):
        return self.others(self.leader_among(self.members))[0]

    def writers(self):
        made = Writers({m: self.client(m) for m in self.members})
        self.addCleanup(made.stop)
        return made

    def more_answers(self, writers, members, count=50):
        """Waits until each of these members has acknowledged so many puts more."""
        goals = {m: writers.answers[m] + count for m in members}
        self.until("more puts", lambda: all(writers.answers[m] >= goals[m] for m in members))

    def assert_nothing_lost(self, writers):
        writers.stop()
        self.all_serve()
        for m in self.members:
            found = {kv.key: kv.value for kv in self.clients[m].get(b"w", range_end=b"x").kvs}
            lost = {key for key, value in writers.acknowledged.items() if found.get(key) != value}
            self.assertEqual(lost, set(), m.container)
        self.same_hashes(self.members)
        self.clients[self.members[0]].delete(b"w", range_end=b"x")

    def cut_off(self, m):
        m.cut_off()
        self.addCleanup(self._bring_back_if_cut_off, m)

    @staticmethod
    def _bring_back_if_cut_off(m):
        if m.network not in m.inspect("{{json .NetworkSettings.Networks}}"):
            m.bring_back()

    # --- the image

    def test_containers_are_healthy_and_have_few_rights(self):
        for m in self.members:
            self.until("health", lambda m=m: m.inspect("{{.State.Health.Status}}") == "healthy")
            self.assertEqual(m.execute("test", "!", "-w", "/etc/passwd"), 0)
            self.assertEqual(compose.run("docker", "exec", m.container, "id", "-u"), "2379")

    def test_stop_is_clean_and_data_survives_new_containers(self):
        self.clients[self.members[0]].put(b"kept", b"v")
        self.cluster.halt()
        for m in self.members:
            self.assertEqual(m.inspect("{{.State.ExitCode}}"), "0", m.container)
        self.cluster.compose("rm", "--force")
        self.cluster.up()
        self.all_serve()
        for m in self.members:
            self.assertEqual(self.clients[m].value(b"kept"), b"v")

    def test_stock_client_sees_three_members(self):
        if shutil.which("etcdctl") is None:
            self.skipTest("etcdctl is not installed (Debian package etcd-client)")
        environment = dict(os.environ, ETCDCTL_API="3",
                           ETCDCTL_ENDPOINTS=",".join(m.endpoint for m in self.members))

        def etcdctl(*arguments):
            return subprocess.run(["etcdctl", *arguments], env=environment, capture_output=True,
                                  text=True, check=False, timeout=member.PATIENCE_SECONDS)
        self.assertEqual(etcdctl("put", "greeting", "hello").stdout, "OK\n")
        self.assertEqual(etcdctl("get", "greeting").stdout, "greeting\nhello\n")
        # The advertised URLs are those that a client on this machine reaches.
        health = etcdctl("endpoint", "health", "--cluster")
        self.assertEqual((health.stdout + health.stderr).count("is healthy"), 3, health)

    # --- faults

    def test_killed_members_return(self):
        for victim in (self.follower(), self.leader_among(self.members)):
            writers = self.writers()
            self.more_answers(writers, self.members)
            victim.kill()
            self.assertEqual(victim.inspect("{{.State.Running}}"), "false")
            self.more_answers(writers, self.others(victim))
            victim.start()
            self.more_answers(writers, self.members)
            self.assert_nothing_lost(writers)

    def test_follower_cut_off_and_returned(self):
        writers = self.writers()
        cut = self.follower()
        self.clients[cut].put(b"k", b"before")
        self.cut_off(cut)
        self.more_answers(writers, self.others(cut))
        self.put_somewhere(self.others(cut), b"k", b"after")
        alone = self.client(cut, timeout_seconds=_CUT_OFF_SECONDS)
        with self.assertRaises(grpc.RpcError):
            alone.get(b"k")
        # What it has is served to whoever takes it; it says that it is not ready for more.
        self.assertEqual(alone.get(b"k", serializable=True).kvs[0].value, b"before")
        self.assertNotEqual(cut.execute("etcdd-ready"), 0)
        cut.bring_back()
        self.more_answers(writers, self.members)
        self.assertEqual(self.clients[cut].value(b"k"), b"after")
        self.assert_nothing_lost(writers)
        self.assertEqual(cut.execute("etcdd-ready"), 0)

    def test_leader_cut_off_reads_nothing_stale(self):
        writers = self.writers()
        cut = self.leader_among(self.members)
        self.clients[cut].put(b"k", b"before")
        self.cut_off(cut)
        # It takes itself for the leader for a while, as long as the others elect none.
        self.put_somewhere(self.others(cut), b"k", b"after")
        alone = self.client(cut, timeout_seconds=_CUT_OFF_SECONDS)
        with self.assertRaises(grpc.RpcError):
            alone.get(b"k")
        with self.assertRaises(grpc.RpcError):
            alone.put(b"undecided", b"v")
        # Reads that wait while it comes back see the others' write, or fail.
        patient = self.client(cut, timeout_seconds=30)
        waiting = [patient.Range.future(case.api.RangeRequest(key=b"k"), timeout=30)
                   for _ in range(20)]
        self.more_answers(writers, self.others(cut))
        cut.bring_back()
        self.more_answers(writers, self.members)
        for read in waiting:
            if read.exception() is None:
                self.assertEqual(read.result().kvs[0].value, b"after")
        self.assertEqual(self.clients[cut].get(b"k").kvs[0].value, b"after")
        self.assert_nothing_lost(writers)


def main():
    reason = compose.missing()
    if reason is None:
        try:
            ComposeTest.base = compose.base_image()
        except AssertionError as error:
            reason = f"no base image: {error}"
    if reason is not None:
        print(f"skipped: {reason}", file=sys.stderr)
        sys.exit(_SKIPPED)
    unittest.main()


if __name__ == "__main__":
    main()
