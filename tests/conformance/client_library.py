"""etcdd used through python3-etcd3, a client library that knows nothing of us.

    /usr/bin/python3 -B client_library.py --etcdd BINARY

Only what needs KV, Lease, Watch and Maintenance: the library's lock is built from these. The
member runs alone; outcomes are judged against what the library documents.
"""

import argparse
import sys
import threading
import unittest

import members

BINARY = None
try:
    import etcd3
except ImportError:
    print("SKIPPED: no python3-etcd3")
    sys.exit(members.EXIT_SKIPPED)

_SECONDS_MAX = 15


class ClientLibraryTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.member = members.Member("etcdd", BINARY, own_client=False)
        cls.member.start()
        cls.client = etcd3.client(port=cls.member.port, host="127.0.0.1", timeout=_SECONDS_MAX)

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        cls.member.__exit__()

    def test_put_get_delete(self):
        self.client.put("key", "one")
        self.client.put("key", "two")
        value, meta = self.client.get("key")
        self.assertEqual(value, b"two")
        self.assertEqual((meta.key, meta.version), (b"key", 2))
        self.assertGreater(meta.mod_revision, meta.create_revision)
        self.assertTrue(self.client.delete("key"))
        self.assertFalse(self.client.delete("key"))
        self.assertEqual(self.client.get("key"), (None, None))

    def test_put_returns_the_previous_pair(self):
        self.client.put("previous", "old")
        reply = self.client.put("previous", "new", prev_kv=True)
        self.assertEqual(reply.prev_kv.value, b"old")
        self.assertTrue(self.client.put_if_not_exists("once", "a"))
        self.assertFalse(self.client.put_if_not_exists("once", "b"))
        self.assertEqual(self.client.get("once")[0], b"a")

    def test_prefix_and_range(self):
        for i in range(5):
            self.client.put(f"p/{i}", str(i))
        self.client.put("p0", "outside")
        self.assertEqual([value for value, _ in self.client.get_prefix("p/")],
                         [b"0", b"1", b"2", b"3", b"4"])
        descending = self.client.get_prefix("p/", sort_order="descend", sort_target="key")
        self.assertEqual([meta.key for _, meta in descending][0], b"p/4")
        self.assertEqual([value for value, _ in self.client.get_range("p/1", "p/3")], [b"1", b"2"])
        self.assertEqual(self.client.delete_prefix("p/").deleted, 5)
        self.assertEqual(list(self.client.get_prefix("p/")), [])
        self.assertEqual(self.client.get("p0")[0], b"outside")

    def test_replace_and_transaction(self):
        self.client.put("swap", "a")
        self.assertFalse(self.client.replace("swap", "x", "b"))
        self.assertTrue(self.client.replace("swap", "a", "b"))
        transactions = self.client.transactions
        succeeded, responses = self.client.transaction(
            compare=[transactions.value("swap") == "b", transactions.version("swap") > 1],
            success=[transactions.put("swap", "c"), transactions.get("swap"),
                     transactions.txn(compare=[], success=[transactions.put("inner", "1")],
                                      failure=[])],
            failure=[transactions.delete("swap")])
        self.assertTrue(succeeded)
        self.assertEqual(responses[1][0][0], b"c")
        self.assertEqual(self.client.get("inner")[0], b"1")
        succeeded, _ = self.client.transaction(
            compare=[transactions.create("never") > 0],
            success=[], failure=[transactions.delete("swap")])
        self.assertFalse(succeeded)
        self.assertIsNone(self.client.get("swap")[0])

    def test_lease_revoke_deletes_its_keys(self):
        lease = self.client.lease(1000)
        self.client.put("leased/a", "1", lease=lease)
        self.client.put("leased/b", "2", lease=lease)
        self.assertEqual(lease.granted_ttl, 1000)
        self.assertIn(lease.remaining_ttl, (999, 1000))
        self.assertEqual(sorted(lease.keys), [b"leased/a", b"leased/b"])
        self.assertEqual([reply.TTL for reply in lease.refresh()], [1000])
        lease.revoke()
        self.assertEqual(list(self.client.get_prefix("leased/")), [])
        self.assertEqual([reply.TTL for reply in lease.refresh()], [0])

    def test_lease_expires(self):
        gone = threading.Event()
        watch_id = self.client.add_watch_callback("short", lambda reply: [
            gone.set() for event in reply.events if isinstance(event, etcd3.events.DeleteEvent)])
        lease = self.client.lease(2)
        self.client.put("short", "1", lease=lease)
        self.assertTrue(gone.wait(_SECONDS_MAX), "the lease's key was not deleted")
        self.client.cancel_watch(watch_id)
        self.assertIsNone(self.client.get("short")[0])

    def test_watch(self):
        events, cancel = self.client.watch_prefix("w/", prev_kv=True)
        self.client.put("w/1", "a")
        self.client.put("elsewhere", "x")
        self.client.put("w/1", "b")
        self.client.delete("w/1")
        got = [next(events) for _ in range(3)]
        cancel()
        self.assertEqual([(type(event).__name__, event.key, event.value, event.prev_value)
                          for event in got],
                         [("PutEvent", b"w/1", b"a", b""), ("PutEvent", b"w/1", b"b", b"a"),
                          ("DeleteEvent", b"w/1", b"", b"b")])

    def test_watch_from_the_past(self):
        self.client.put("past", "1")
        first = self.client.get("past")[1].mod_revision
        self.client.put("past", "2")
        events, cancel = self.client.watch("past", start_revision=first)
        self.assertEqual([next(events).value, next(events).value], [b"1", b"2"])
        cancel()

    def test_watch_of_compacted_revisions_is_refused(self):
        self.client.put("old", "1")
        self.client.put("old", "2")
        revision = self.client.get("old")[1].mod_revision
        self.client.compact(revision, physical=True)
        events, cancel = self.client.watch("old", start_revision=1)
        with self.assertRaises(etcd3.exceptions.RevisionCompactedError) as raised:
            next(events)
        self.assertEqual(raised.exception.compacted_revision, revision)
        cancel()

    def test_lock(self):
        mine = self.client.lock("job", ttl=30)
        other = self.client.lock("job", ttl=30)
        self.assertTrue(mine.acquire(timeout=_SECONDS_MAX))
        self.assertTrue(mine.is_acquired())
        self.assertFalse(other.is_acquired())  # To wait for it is what the library cannot do with
        self.assertTrue(mine.release())        # Debian's tenacity.
        self.assertTrue(other.acquire(timeout=_SECONDS_MAX))
        self.assertTrue(other.release())

    def test_maintenance(self):
        status = self.client.status()
        self.assertEqual(status.version, "3.7.1")
        self.assertEqual(status.leader.id, list(self.client.members)[0].id)
        self.assertGreater(status.db_size, 0)
        self.assertEqual(len(list(self.client.members)), 1)
        self.client.defragment()
        self.assertEqual(list(self.client.list_alarms()), [])
        self.assertGreater(self.client.hash(), 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--etcdd", required=True, help="path of the etcdd binary")
    BINARY = parser.parse_args().etcdd
    unittest.main(argv=[sys.argv[0]], verbosity=2)
