"""Data directories that are damaged, incomplete, foreign, full or not ours to write.

A start that is refused must say why, end with exit code 1, and leave the member's files as they
were: after the damage is undone the member starts and has everything.
"""

import hashlib
import os
import shutil
import subprocess
import unittest

import grpc

import api
import member
import wal_file
from case import MemberTest

NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
IS_ROOT = os.geteuid() == 0


def digest(root):
    """path -> hash of the contents, for all files below root."""
    found = {}
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                found[path] = hashlib.sha256(file.read()).hexdigest()
    return found


class DataDirTest(MemberTest):

    def fill(self, m, count=50, begin=0):
        """Puts keys begin..begin+count-1, each with its number as value."""
        with api.Client(m.endpoint) as client:
            for i in range(begin, begin + count):
                client.put(f"key{i:04}".encode(), str(i).encode())

    def assert_filled(self, m, count=50):
        with api.Client(m.endpoint) as client:
            kvs = client.get(b"key", range_end=b"kez").kvs
        self.assertEqual([kv.value for kv in kvs], [str(i).encode() for i in range(count)])

    def assert_refused(self, m, *texts, keep=None, **popen):
        """The start ends with exit code 1 and a fatal line with these texts; the files below
        `keep` (the WAL directory unless given) stay as they are. Returns the error."""
        keep = keep or m.wal_dir()
        before = digest(keep)
        self.assertEqual(m.run_to_end(**popen), 1, m.log_text())
        last = m.log()[-1]
        self.assertEqual((last["level"], last["msg"]), ("fatal", "discovery failed"))
        for text in texts:
            self.assertIn(text, last["error"])
        self.assertEqual(digest(keep), before, "a refused start changed files")
        return last["error"]


class SnapshotTest(DataDirTest):
    """Backend and WAL that do not belong to the same moment."""

    def member_with_snapshot(self):
        """A stopped member whose WAL has a snapshot mark, and a copy of its backend from before."""
        m = self.member("--snapshot-count", "20").start()
        self.fill(m, 5)
        self.assertEqual(m.terminate(), 0)
        early = os.path.join(m.scratch, "early")
        shutil.copytree(m.backend_dir(), early)
        m.start()
        self.fill(m, 45, begin=5)
        m.wait_for_log("saved snapshot")
        self.assertEqual(m.terminate(), 0)
        return m, early

    def test_backend_behind_the_snapshot(self):
        m, early = self.member_with_snapshot()
        current = m.backend_dir() + ".current"
        os.rename(m.backend_dir(), current)
        shutil.copytree(early, m.backend_dir())
        error = self.assert_refused(m, "does not match with snapshot (index ", m.backend_dir())
        self.assertRegex(error, r"index \d+\) does not match with snapshot \(index \d+\)")
        shutil.rmtree(m.backend_dir())
        os.rename(current, m.backend_dir())
        m.start()
        self.assert_filled(m)

    def test_backend_missing_behind_the_snapshot(self):
        m, _ = self.member_with_snapshot()
        os.rename(m.backend_dir(), m.backend_dir() + ".away")
        for _ in range(2):  # the first refusal must not make the second start believe its files
            self.assert_refused(m, "missing", m.backend_dir())
            shutil.rmtree(m.backend_dir(), ignore_errors=True)
        os.rename(m.backend_dir() + ".away", m.backend_dir())
        m.start()
        self.assert_filled(m)

    def test_backend_missing_twice_in_a_row(self):
        """What a refused start leaves in place of the backend is not taken for one."""
        m, _ = self.member_with_snapshot()
        shutil.rmtree(m.backend_dir())
        self.assert_refused(m, m.backend_dir())
        self.assert_refused(m, m.backend_dir())

    def test_backend_missing_without_a_snapshot_is_rebuilt_from_the_wal(self):
        m = self.member().start()
        self.fill(m)
        m.kill()
        shutil.rmtree(m.backend_dir())
        m.start()
        self.assert_filled(m)

    def test_older_backend_without_a_snapshot_catches_up(self):
        m = self.member().start()
        self.fill(m, 5)
        self.assertEqual(m.terminate(), 0)
        early = os.path.join(m.scratch, "early")
        shutil.copytree(m.backend_dir(), early)
        m.start()
        self.fill(m, 45, begin=5)
        m.kill()
        shutil.rmtree(m.backend_dir())
        os.rename(early, m.backend_dir())
        m.start()
        self.assert_filled(m)

    def test_wal_missing(self):
        m = self.member().start()
        self.fill(m)
        self.assertEqual(m.terminate(), 0)
        os.rename(m.wal_dir(), m.wal_dir() + ".away")
        self.assert_refused(m, "there is no WAL in", m.wal_dir(), keep=m.wal_dir() + ".away")
        shutil.rmtree(m.wal_dir(), ignore_errors=True)
        os.rename(m.wal_dir() + ".away", m.wal_dir())
        m.start()
        self.assert_filled(m)


class WalTest(DataDirTest):

    def killed(self):
        """A filled member after a crash: its backend is empty, all is in the WAL."""
        m = self.member().start()
        self.fill(m)
        m.kill()
        return m, m.wal_segments()[-1]

    def last_put(self, path):
        """The offset of the record of the last put."""
        return [offset for offset, record in wal_file.records(path) if b"key0049" in record][-1]

    def test_torn_tail_is_cut(self):
        m, path = self.killed()
        os.truncate(path, self.last_put(path) + 20)
        m.start()
        self.assertIn("repaired", m.messages())
        self.assertTrue(os.path.exists(path + ".broken"))
        self.assert_filled(m, 49)
        self.fill(m, 1, begin=49)
        m.kill()
        m.start()
        self.assert_filled(m)

    def test_tail_of_zeros_is_cut(self):
        """A crash of the machine: the file has its length, the last sectors were not written."""
        m, path = self.killed()
        at = (self.last_put(path) + 8 + 511) // 512 * 512
        end = wal_file.end(path)
        if at < end:
            wal_file.overwrite(path, at, bytes(end - at))
            m.start()
            with api.Client(m.endpoint) as client:
                self.assertGreaterEqual(client.get(b"key", range_end=b"kez").count, 40)

    def test_tail_cut_below_what_the_backend_has(self):
        m = self.member().start()
        self.fill(m)
        self.assertEqual(m.terminate(), 0)
        path = m.wal_segments()[-1]
        size = os.path.getsize(path)
        with open(path, "rb") as file:
            whole = file.read()
        os.truncate(path, self.last_put(path) - 300)
        self.assertEqual(m.run_to_end(), 1, m.log_text())
        self.assertIn("is ahead of the WAL", m.log()[-1]["error"])
        with open(path, "wb") as file:
            file.write(whole)
        self.assertEqual(os.path.getsize(path), size)
        m.start()
        self.assert_filled(m)

    def test_flipped_byte_in_the_middle(self):
        m, path = self.killed()
        found = wal_file.records(path)
        for number in (len(found) // 2, 3, len(found) - 5):
            offset, record = found[number]
            with self.subTest(offset):
                wal_file.flip(path, offset + 8 + len(record) - 1)
                self.assert_refused(m, path, str(offset))
                wal_file.flip(path, offset + 8 + len(record) - 1)
        m.start()
        self.assert_filled(m)

    def test_flipped_byte_in_a_length(self):
        m, path = self.killed()
        found = wal_file.records(path)
        offset = found[len(found) // 2][0]
        wal_file.flip(path, offset + 2)
        self.assert_refused(m, path, str(offset))
        wal_file.flip(path, offset + 2)
        m.start()
        self.assert_filled(m)

    def test_record_of_an_unknown_type(self):
        m, path = self.killed()
        wal_file.append(path, 9, b"from the future")
        self.assert_refused(m, path)

    def test_segment_that_is_no_wal(self):
        m, path = self.killed()
        with open(path, "rb") as file:
            whole = file.read()
        with open(path, "wb") as file:
            file.write(b"SQLite format 3\0" * 1000)
        self.assert_refused(m, path)
        with open(path, "wb") as file:
            file.write(whole)
        m.start()
        self.assert_filled(m)

    def test_missing_segment_between_others(self):
        m, path = self.killed()
        os.rename(path, os.path.join(m.wal_dir(), "0000000000000003-0000000000000040.wal"))
        self.assert_refused(m, m.wal_dir())


class ForeignTest(DataDirTest):

    def test_foreign_files_are_left_alone(self):
        m = self.member().start()
        self.fill(m)
        self.assertEqual(m.terminate(), 0)
        foreign = [os.path.join(folder, name)
                   for folder in (m.data_dir, m.wal_dir(), os.path.join(m.data_dir, "member"))
                   for name in ("notes.txt", "lost+found")]
        for path in foreign:
            if path.endswith("lost+found"):
                os.mkdir(path)
            else:
                with open(path, "w", encoding="utf-8") as file:
                    file.write("mine")
        m.start()
        self.assert_filled(m)
        named = {line["filename"] for line in m.log()
                 if line["msg"] == "found invalid file under data directory"}
        self.assertEqual(named, {"notes.txt", "lost+found"})
        for path in foreign:
            self.assertTrue(os.path.exists(path))

    @unittest.skipUnless(member.installed("etcd"), "etcd is not installed")
    def test_data_directory_of_etcd(self):
        stock = member.StockEtcd()
        self.addCleanup(stock.stop)
        stock.start()
        self.fill(stock)
        stock.terminate()
        ours = self.member(data_dir=stock.data_dir)
        self.assert_refused(ours, "belongs to etcd", "Nothing in it was changed",
                            keep=stock.data_dir)
        stock.start()
        self.assert_filled(stock)

    def test_newer_format(self):
        m = self.member().start()
        self.fill(m)
        self.assertEqual(m.terminate(), 0)
        version = os.path.join(m.data_dir, "member", "etcdd.version")
        with open(version, encoding="utf-8") as file:
            own = file.read()
        for text, told in (('{"format":2,"created-by":"etcdd 9.9"}\n', "newer etcdd"),
                           ("", "damaged"), ("{}", "damaged"), ('{"format":"x"}', "damaged")):
            with self.subTest(text):
                with open(version, "w", encoding="utf-8") as file:
                    file.write(text)
                self.assert_refused(m, told, keep=m.data_dir)
        os.remove(version)
        self.assert_refused(m, "holds a member's files", keep=m.data_dir)
        with open(version, "w", encoding="utf-8") as file:
            file.write(own)
        m.start()
        self.assert_filled(m)

    def test_data_dir_is_a_file(self):
        m = self.member()
        with open(m.data_dir, "w", encoding="utf-8") as file:
            file.write("mine")
        self.assertEqual(m.run_to_end(), 1)
        self.assertIn(m.data_dir, m.log()[-1]["error"])


@unittest.skipUnless(IS_ROOT and member.installed("setpriv"), "needs root and setpriv")
class PermissionTest(DataDirTest):

    def nobody(self, m):
        """The same member run by a user who owns nothing."""
        os.chmod(m.scratch, 0o755)
        other = self.member(data_dir=m.data_dir, prefix=NOBODY)
        return other

    def test_parent_not_writable(self):
        m = self.member()
        other = self.nobody(m)
        self.assertEqual(other.run_to_end(), 1)
        self.assertIn("Permission denied", other.log()[-1]["error"])
        self.assertIn(m.data_dir, other.log()[-1]["error"])

    def test_directories_of_somebody_else(self):
        m = self.member().start()
        self.fill(m, 5)
        self.assertEqual(m.terminate(), 0)
        for path, mode in ((m.data_dir, 0o700), (m.data_dir, 0o755)):
            with self.subTest(oct(mode)):
                os.chmod(path, mode)
                error = self.assert_refused(self.nobody(m), m.data_dir, keep=m.data_dir)
                self.assertIn("ermission denied", error)
        m.start()
        self.assert_filled(m, 5)

    def test_wal_directory_not_writable(self):
        m = self.member()
        os.chmod(m.scratch, 0o777)
        mine = self.member(data_dir=m.data_dir, prefix=NOBODY).start()
        self.fill(mine, 5)
        self.assertEqual(mine.terminate(), 0)
        for path in (mine.wal_dir(), os.path.dirname(mine.wal_dir()),
                     os.path.dirname(mine.backend_dir()), mine.backend_dir()):
            with self.subTest(path):
                os.chown(path, 0, 0)
                os.chmod(path, 0o755)
                error = self.assert_refused(mine, path)
                os.chown(path, 65534, 65534)
                self.assertIn("ermission denied", error)
        mine.start()
        self.assert_filled(mine, 5)


@unittest.skipUnless(IS_ROOT, "mounts a file system")
class FullDiskTest(DataDirTest):

    def mounted(self, megabytes):
        """A member whose data directory lies on a file system of this size."""
        m = self.member()
        os.mkdir(m.data_dir)
        made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs",
                               m.data_dir], stderr=subprocess.DEVNULL, check=False)
        if made.returncode != 0:
            self.skipTest("mount is not allowed here")
        self.addCleanup(self._unmount, m)
        return m

    def _unmount(self, m):
        if m.process is not None and m.process.poll() is None:
            m.kill()
        subprocess.run(["umount", m.data_dir], check=True)

    def test_no_space_at_the_first_start(self):
        m = self.mounted(8)
        self.assertEqual(m.run_to_end(), 1, m.log_text())
        self.assertIn("No space left on device", m.log()[-1]["error"])
        subprocess.run(["mount", "-o", "remount,size=512m", m.data_dir], check=True)
        m.start()
        self.fill(m)

    def test_disk_fills_up_while_running(self):
        """The member stops at once, and with more space goes on with all it had acknowledged."""
        m = self.mounted(160)
        m.start()
        acknowledged = 0
        with api.Client(m.endpoint) as client:
            try:
                while acknowledged < 1000:
                    client.put(f"big{acknowledged:04}".encode(),
                               str(acknowledged).encode() + os.urandom(1 << 20))
                    acknowledged += 1
            except grpc.RpcError as error:
                self.assertEqual(error.code(), grpc.StatusCode.UNAVAILABLE, error)
        self.assertGreater(acknowledged, 5)
        self.assertEqual(m.wait(), 1)
        self.assertIn("No space left on device",
                      " ".join(line.get("error", "") for line in m.errors()), m.log_text())
        subprocess.run(["mount", "-o", "remount,size=2000m", m.data_dir], check=True)
        m.start()
        with api.Client(m.endpoint) as client:
            for i in range(acknowledged):
                value = client.value(f"big{i:04}".encode())
                self.assertEqual(value[:-(1 << 20)], str(i).encode())
            client.put(b"k", b"v")


if __name__ == "__main__":
    unittest.main()
