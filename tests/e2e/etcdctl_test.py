"""The stock etcdctl against etcdd.

Most of it is one script that runs against etcdd and against the installed etcd: every command's
exit code and output must be equal, byte for byte once ids and times are masked. The commands that
must differ (versions, what etcdd does not do yet) have tests of their own.
"""

import json
import os
import re
import unittest

import api
import member
from etcdctl import Etcdctl
from case import MemberTest

FORMATS = ("simple", "json", "fields")


class Script:
    """A run of the script: each step is noted as (what, result)."""

    def __init__(self, of):
        self.ctl = Etcdctl(of.endpoint)
        self.notes = []

    def run(self, *arguments, stdin=""):
        result = self.ctl.run(*arguments, stdin=stdin)
        what = re.sub("[0-9a-f]{16}", "ID", " ".join(arguments))
        self.notes.append((what + (f" <<< {stdin!r}" if stdin else ""), result.masked()))
        return result

    def each_format(self, *arguments, **options):
        for form in FORMATS:
            self.run(*arguments, "-w", form, **options)

    def note(self, what, result):
        self.notes.append((what, result))

    # --- the parts; each begins where the one before left the store

    def puts(self):
        self.each_format("put", "foo", "bar")
        self.run("put", "foo", stdin="from stdin")
        self.each_format("put", "foo", "new", "--prev-kv")
        self.run("put", "foo", "--ignore-value")
        self.run("put", "absent", "--ignore-value")
        self.run("put", "foo", "x", "--lease", "123456")
        self.run("put", "", "x")
        self.run("put")
        self.run("put", "empty", "")
        self.run("put", "bytes", "a\tb\"c\\ü")
        self.run("put", "-w", "table", "foo", "t")
        for number, name in enumerate(("key3", "key1", "key2", "kez")):
            self.run("put", name, f"value{9 - number}")
        self.run("put", "key1", "value0")

    def gets(self):
        self.each_format("get", "foo")
        self.each_format("get", "absent")
        self.each_format("get", "", "--prefix")
        self.each_format("get", "key", "--prefix", "--limit", "2")
        self.each_format("get", "key", "--prefix", "--keys-only")
        self.run("get", "key", "--prefix", "--print-value-only")
        self.run("get", "key", "--prefix", "--print-value-only", "-w", "json")
        self.run("get", "key2", "--from-key")
        self.run("get", "key2", "--from-key", "--prefix")
        self.run("get", "key1", "key3")
        self.run("get", "key3", "key1")
        self.run("get", "key1", "key3", "--prefix")
        for target in ("CREATE", "KEY", "MODIFY", "VALUE", "VERSION"):
            for order in ("ASCEND", "DESCEND"):
                self.run("get", "key", "--prefix", "--sort-by", target, "--order", order)
        self.run("get", "key", "--prefix", "--order", "DESCEND", "--limit", "1")
        self.run("get", "key", "--prefix", "--sort-by", "NONSENSE")
        self.run("get", "key", "--prefix", "--order", "NONSENSE")
        self.each_format("get", "foo", "--rev", "2")
        self.run("get", "foo", "--rev", "1")
        self.run("get", "foo", "--rev", "9999")
        for level in ("l", "s", "x"):
            self.run("get", "foo", "--consistency", level)
        self.run("get", "bytes", "--hex")
        self.run("get", "bytes", "--hex", "-w", "fields")
        self.run("get", "foo", "-w", "protobuf")
        self.run("get")

    def deletes(self):
        self.each_format("del", "absent")
        self.each_format("del", "key1", "--prev-kv")
        self.run("put", "key1", "back")
        self.run("del", "key1", "key3")
        self.each_format("del", "key", "--prefix", "--prev-kv")
        self.run("put", "z1", "1")
        self.run("put", "z2", "2")
        self.run("del", "z1", "--from-key")
        self.run("del", "")
        self.run("get", "", "--prefix", "--keys-only")

    def txns(self):
        for text in ('value("foo") = "t"\n\nput a "1"\nget foo\n\nget a\n\n',
                     'version("foo") > "1000"\n\nput a 2\n\nget foo\ndel a\n\n',
                     'create("none") = "0"\nmod("foo") > "1"\n\n'
                     'put b 3\ndel a --prev-kv\nget b\n\n\n',
                     '\nput c "with space"\n\n\n',
                     '\nput d 1\nput d 2\n\n\n',
                     '\nget "" --prefix\n\n\n',
                     '\nput e 1 --lease=999\n\n\n'):
            self.each_format("txn", stdin=text)
        self.run("txn", "-i", stdin='value("foo") != "t"\n\nput a "1"\n\nget foo\n\n')
        self.run("txn", stdin="nonsense\n\n\n\n")
        self.run("txn", stdin='value("foo") = "t"\n\nnonsense\n\n\n')

    def watches(self):
        revision = json.loads(self.run("put", "w", "0", "-w", "json").out)["header"]["revision"]
        at = ("--rev", str(revision + 1))
        for form, last in (("simple", "DELETE"), ("json", '"type":1'), ("fields", "DELETE")):
            watch = self.ctl.begin("watch", "w", "--prefix", "--prev-kv", *at, "-w", form)
            if form == "simple":
                self.run("put", "w", "1")
                self.run("put", "w2", "2")
                self.run("del", "w")
            text = watch.lines(1)
            while last not in text[-1]:
                text += watch.lines(1)
            if form != "json":  # the events of a deletion: previous pair and key
                text += watch.lines(4 if form == "simple" else 12)
            watch.end()
            if form == "json":  # one response may carry several revisions
                text = [event for line in text for event in json.loads(line)["Events"]]
            if form == "fields":
                text = [line for line in text if not line.startswith(
                    ('"ClusterID', '"MemberID', '"RaftTerm', '"Revision'))]
            self.note(f"watch -w {form}", text)
        watch = self.ctl.begin("watch", "w", "x", *at, "--", "sh", "-c",
                               "echo $ETCD_WATCH_REVISION $ETCD_WATCH_EVENT_TYPE $ETCD_WATCH_KEY "
                               "$ETCD_WATCH_VALUE")
        self.note("watch exec", watch.lines(3))
        watch.end()
        watch = self.ctl.begin("watch", "-i")
        watch.send(f"watch w --rev {revision}\n")
        self.note("watch -i", watch.lines(3))
        watch.send(f"watch w2 --rev {revision}\n")
        self.note("watch -i, second", watch.lines(3))
        watch.end()

    def leases(self):
        granted = self.run("lease", "grant", "600")
        lease = re.search("[0-9a-f]{16}", granted.out).group()
        self.each_format("lease", "grant", "700")
        self.run("lease", "grant", "0")
        self.run("lease", "grant", "99999999999")
        self.run("lease", "grant", "x")
        self.run("put", "leased1", "v", "--lease", lease)
        self.run("put", "leased2", "v", "--lease", lease)
        self.run("put", "leased2", "w", "--ignore-lease")
        self.run("get", "leased", "--prefix", "-w", "json")
        self.run("lease", "timetolive", lease)
        listed = self.ctl.run("lease", "timetolive", lease, "--keys").out
        self.note("timetolive --keys", sorted(re.search(r"keys\(\[(.*)\]\)", listed)[1].split()))
        self.run("lease", "timetolive", "123")
        self.run("lease", "timetolive", "nonsense")
        self.run("lease", "list")
        self.each_format("lease", "keep-alive", "--once", lease)
        self.run("lease", "keep-alive", "--once", "123")
        keep = self.ctl.begin("lease", "keep-alive", lease)
        self.note("keep-alive", [re.sub("[0-9a-f]{16}", "ID", line) for line in keep.lines(1)])
        keep.end()
        self.run("lease", "revoke", lease)
        self.run("lease", "revoke", lease)
        self.run("get", "leased", "--prefix")

    def compactions(self):
        revision = json.loads(self.run("put", "c", "1", "-w", "json").out)["header"]["revision"]
        self.run("compaction", str(revision - 5))
        self.run("compaction", str(revision - 2), "--physical")
        self.run("compaction", str(revision - 2))
        self.run("compaction", str(revision + 100))
        self.run("compaction", "x")
        self.run("compaction")
        self.run("get", "foo", "--rev", str(revision - 3))
        self.run("get", "foo", "--rev", str(revision - 1))
        watch = self.ctl.begin("watch", "c", "--rev", "2")
        self.note("watch from a compacted revision", watch.process.wait(30))
        watch.end()

    def alarms(self, endpoint):
        self.run("alarm", "list")
        with api.Client(endpoint) as client:
            me = client.status().header.member_id
            client.alarm(action=1, member=me, alarm=1)
        self.run("alarm", "list")
        self.run("put", "foo", "full")
        self.run("endpoint", "health")
        self.run("alarm", "disarm")
        self.run("alarm", "list")
        self.run("put", "foo", "fits")

    def members(self):
        for form in (*FORMATS, "table"):
            self.run("member", "list", "-w", form)
        self.run("endpoint", "health")
        self.run("defrag")
        self.run("move-leader", "1")
        for form in FORMATS:
            for command in ("promote", "remove"):
                self.run("member", command, "123", "-w", form)
        self.run("member", "update", "123", "--peer-urls", "http://127.0.0.1:9")
        self.run("member", "add", "x", "--peer-urls", "not a url")
        # A learner that never starts: the one member stays a majority of itself.
        added = self.run("member", "add", "x", "--learner", "--peer-urls", "http://127.0.0.1:9")
        found = re.search(r"Member +([0-9a-f]+) added", added.out)
        assert found, added
        learner = found[1]
        self.run("member", "add", "y", "--learner", "--peer-urls", "http://127.0.0.1:10")
        self.run("member", "add", "y", "--learner", "--peer-urls", "http://127.0.0.1:9")
        self.run("member", "promote", learner)
        self.run("member", "remove", learner)
        self.run("member", "remove", learner)
        for form in FORMATS:
            self.run("member", "list", "-w", form)

    def recipes(self):
        self.run("lock", "l", "--", "sh", "-c", "echo locked; exit 3")
        lock = self.ctl.begin("lock", "l")
        self.note("lock", [re.sub("/[0-9a-f]+$", "/ID", line) for line in lock.lines(1)])
        self.note("lock ended", lock.end().code)
        elect = self.ctl.begin("elect", "e", "me")
        self.note("elect", [re.sub("/[0-9a-f]+$", "/ID", line) for line in elect.lines(2)])
        self.note("elect ended", elect.end().code)

    def everything(self, endpoint):
        self.puts()
        self.gets()
        self.deletes()
        self.txns()
        self.watches()
        self.leases()
        self.compactions()
        self.members()
        self.recipes()
        self.alarms(endpoint)
        return self.notes


@unittest.skipUnless(member.installed("etcdctl"), "etcdctl is not installed")
class EtcdctlTest(MemberTest):

    def setUp(self):
        self.m = self.member().start()
        self.ctl = Etcdctl(self.m.endpoint)

    @unittest.skipUnless(member.installed("etcd"), "etcd is not installed")
    def test_same_answers_as_etcd(self):
        self.maxDiff = None
        stock = member.StockEtcd()
        self.addCleanup(stock.stop)
        stock.start()
        ours = Script(self.m).everything(self.m.endpoint)
        theirs = Script(stock).everything(stock.endpoint)
        self.assertEqual([what for what, _ in ours], [what for what, _ in theirs])
        for number, ((what, mine), (_, other)) in enumerate(zip(ours, theirs)):
            with self.subTest(f"{number}: {what}"):
                self.assertEqual(mine, other)
        # Refused changes of membership are errors in etcd's log too.
        refusals = {"Validation on configuration change failed",
                    "rejecting promote learner: learner is not ready"}
        self.assertEqual([e for e in self.m.errors() if e["msg"] not in refusals], [])

    def test_status(self):
        self.ctl.run("put", "k", "v")
        fields = self.ctl.run("endpoint", "status").out.rstrip("\n").split(", ")
        self.assertEqual(fields[0], self.m.endpoint)
        self.assertRegex(fields[1], "^[0-9a-f]{15,16}$")
        self.assertRegex(fields[2], r"^3\.7\.\d+$")
        self.assertRegex(fields[3], r"^[1-9][0-9.]* [kMG]?B$")
        self.assertEqual(fields[4:7], ["true", "false", "2"])
        self.assertEqual(fields[7], fields[8], "everything committed is applied")
        status = json.loads(self.ctl.run("endpoint", "status", "-w", "json").out)[0]["Status"]
        self.assertEqual(status["leader"], status["header"]["member_id"])
        self.assertGreater(status["dbSize"], 0)
        self.assertGreaterEqual(status["dbSize"], status["dbSizeInUse"])

    def test_alarm_list_has_a_header(self):
        """As in 3.7; in 3.4 the reply has none, and -w fields crashes there."""
        me = self.client(self.m).status().header.member_id
        self.client(self.m).alarm(action=1, member=me, alarm=1)
        shown = json.loads(self.ctl.run("alarm", "list", "-w", "json").out)
        self.assertEqual(shown["alarms"], [{"memberID": me, "alarm": 1}])
        self.assertEqual(shown["header"]["member_id"], me)
        self.assertIn('"AlarmType" : NOSPACE', self.ctl.run("alarm", "list", "-w", "fields").out)

    def test_hash_is_that_of_the_api(self):
        self.ctl.run("put", "k", "v")
        shown = self.ctl.run("endpoint", "hashkv").out
        self.assertEqual(shown, f"{self.m.endpoint}, {self.client(self.m).hash_kv().hash}\n")

    def test_what_is_not_there_yet_says_so(self):
        saved = os.path.join(self.m.scratch, "saved")
        for arguments in (["snapshot", "save", saved], ["auth", "enable"], ["user", "list"],
                          ["user", "add", "u:p"], ["role", "add", "r"], ["role", "list"],
                          ["role", "grant-permission", "r", "read", "k"]):
            with self.subTest(arguments):
                ended = self.ctl.run(*arguments)
                self.assertNotEqual(ended.code, 0)
                self.assertRegex(ended.err, "not supported yet by this version of etcdd")
        self.assertFalse(os.path.exists(saved))

    def test_mirror(self):
        """make-mirror copies into another member what is there and what comes."""
        target = self.member().start()
        for i in range(20):
            self.ctl.run("put", f"m{i}", str(i))
        mirror = self.ctl.begin("make-mirror", target.endpoint)
        client, copy = self.client(self.m), self.client(target)
        self.wait_until(lambda: copy.get(b"m", range_end=b"n").count == 20)
        client.put(b"m20", b"20")
        client.delete(b"m0")
        self.wait_until(lambda: copy.value(b"m20") == b"20" and copy.value(b"m0") is None)
        mirror.end()

    def wait_until(self, holds):
        deadline = member.deadline()
        while not holds():
            self.assertFalse(deadline(), "waited in vain")


if __name__ == "__main__":
    unittest.main()
