"""Crashes at the moments that need care: starting, compacting, taking snapshots."""

import random
import signal
import time
import unittest

import grpc

import api
from case import MemberTest


class RestartTest(MemberTest):

    def setUp(self):
        seed = random.SystemRandom().randrange(1 << 32)
        self.rng = random.Random(seed)
        self.addCleanup(lambda: print(f"{self.id()}: seed {seed}") if self.failed() else None)

    def failed(self):
        outcome = self._outcome.result
        return any(case is self for case, _ in outcome.failures + outcome.errors)

    def test_killed_while_starting_for_the_first_time(self):
        """Whatever the first start left, the second one makes a member of it."""
        for _ in range(15):
            m = self.member().launch()
            time.sleep(self.rng.uniform(0, 0.25))
            m.kill()
            m.start()
            client = self.client(m)
            self.assertEqual(client.put(b"k", b"v").header.revision, 2)
            m.kill()
            m.start()
            client.close()
            self.assertEqual(self.client(m).value(b"k"), b"v")
            m.stop()

    def test_killed_while_starting_again(self):
        m = self.member("--snapshot-count", "50").start()
        with api.Client(m.endpoint) as client:
            for i in range(200):
                client.put(f"k{i % 20}".encode(), str(i).encode())
            before = client.get(b"k", range_end=b"l").kvs
            hashed = client.hash_kv().hash
        m.kill()
        for _ in range(25):
            m.launch()
            time.sleep(self.rng.uniform(0, 0.25))
            m.kill()
        m.start()
        client = self.client(m)
        self.assertEqual(client.get(b"k", range_end=b"l").kvs, before)
        self.assertEqual(client.hash_kv().hash, hashed)

    def test_signal_while_starting(self):
        """Ends by the signal before it is heard (as etcd does before it is ready), and with exit
        code 0 afterwards; the data are fit for the next start in both cases."""
        m = self.member()
        for _ in range(15):
            m.launch()
            time.sleep(self.rng.uniform(0, 0.2))
            self.assertIn(m.terminate(), (0, -signal.SIGTERM), m.log_text())
        m.start()
        self.client(m).put(b"k", b"v")

    def test_killed_while_compacting(self):
        """The compaction is kept and finished; the hash is that of a member never killed."""
        untouched = self.member("--unsafe-no-fsync").start()
        victim = self.member("--compaction-batch-limit", "20",
                             "--compaction-sleep-interval", "5ms", "--unsafe-no-fsync").start()
        revision = 1
        for _ in range(6):
            for m in (untouched, victim):
                with api.Client(m.endpoint) as client:
                    for i in range(300):
                        key = f"k{i % 40}".encode()
                        reply = client.delete(key) if i % 7 == 6 else client.put(key, bytes(50))
            revision = reply.header.revision
            with api.Client(untouched.endpoint) as client:
                client.compact(revision - 20, physical=True)
                wanted = client.hash_kv()
            with api.Client(victim.endpoint) as client:
                client.compact(revision - 20, physical=False)
                time.sleep(self.rng.uniform(0, 0.1))
                victim.kill()
            victim.start()
            with api.Client(victim.endpoint) as client:
                found = client.hash_kv()
                self.assertEqual((found.hash, found.compact_revision, found.hash_revision),
                                 (wanted.hash, wanted.compact_revision, wanted.hash_revision))
                with self.assertRaises(grpc.RpcError) as caught:
                    client.get(b"k1", revision=revision - 21)
                self.assertIn("compacted", caught.exception.details())
                client.put(b"next", b"")
            with api.Client(untouched.endpoint) as client:
                client.put(b"next", b"")
        with api.Client(victim.endpoint) as client:
            client.compact(revision - 19, physical=True)
        with api.Client(untouched.endpoint) as other, api.Client(victim.endpoint) as client:
            other.compact(revision - 19, physical=True)
            self.assertEqual(client.hash_kv().hash, other.hash_kv().hash)

    def test_killed_around_snapshots(self):
        """With a snapshot every few entries nearly every kill meets one."""
        m = self.member("--snapshot-count", "3", "--snapshot-catchup-entries", "1")
        acknowledged, snapshots = 0, 0
        for _ in range(25):
            m.start()
            with api.Client(m.endpoint) as client:
                kept = client.value(b"count")
                self.assertIn(int(kept or 0), (acknowledged, acknowledged + 1))
                acknowledged = int(kept or 0)
                for i in range(acknowledged + 1, acknowledged + self.rng.randrange(2, 40)):
                    client.put(b"count", str(i).encode())
                    acknowledged = i
                client.Put.future(
                    api.PutRequest(key=b"count", value=str(acknowledged + 1).encode()), timeout=20)
                time.sleep(self.rng.uniform(0, 0.02))
                m.kill()
            snapshots += m.messages().count("saved snapshot")
            self.assertEqual(m.errors(), [])
        self.assertGreater(snapshots, 25)
        m.start()


class SlowWatcherTest(MemberTest):

    def resident_bytes(self, m):
        with open(f"/proc/{m.process.pid}/status", encoding="ascii") as status:
            line = [line for line in status if line.startswith("VmRSS:")][0]
        return int(line.split()[1]) << 10

    def test_watcher_that_does_not_read_costs_no_memory_and_misses_nothing(self):
        """400 events of 250 kB for a client that leaves them lying; then it reads them all."""
        m = self.member("--unsafe-no-fsync", "--snapshot-count", "50",
                        "--snapshot-catchup-entries", "10").start()
        client, writer = self.client(m), self.client(m)
        stream = api.Stream(client.Watch, timeout=120)
        stream.send(api.WatchRequest(create_request={"key": b"w"}))
        next(stream)
        value = bytes(250_000)
        for i in range(400):  # what the store itself takes comes first
            writer.put(b"other", value)
        before = self.resident_bytes(m)
        for i in range(400):
            writer.put(b"w", value)
        self.assertLess(self.resident_bytes(m), before + (64 << 20))
        versions = []
        while len(versions) < 400:
            versions += [event.kv.version for event in next(stream).events]
        self.assertEqual(versions, list(range(1, 401)))
        stream.cancel()


if __name__ == "__main__":
    unittest.main()
