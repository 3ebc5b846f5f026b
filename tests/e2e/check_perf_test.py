"""etcdctl's own performance check, small load: it takes a minute and must end with PASS.

Its limits are for a machine that does nothing else; the label of this test is slow.
"""

import unittest

import member
from etcdctl import Etcdctl
from case import MemberTest


class CheckPerfTest(MemberTest):

    @unittest.skipUnless(member.installed("etcdctl"), "etcdctl is not installed")
    def test_small_load_passes(self):
        m = self.member().start()
        ended = Etcdctl(m.endpoint).run("check", "perf", "--load", "s", "--auto-compact",
                                        "--auto-defrag", seconds=120)
        self.assertEqual(ended.code, 0, ended)
        self.assertEqual(ended.out.rstrip().splitlines()[-1], "PASS", ended)
        self.assertEqual(m.errors(), [])


if __name__ == "__main__":
    unittest.main()
