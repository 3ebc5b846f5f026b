"""Each rule flags its bad snippets and passes the good ones."""

import unittest

import exemptions
import graph
import rules
import tidy
from source import Source, inside


def found(path, text, others=()):
    """Names of the rules that a tree of this file (and empty `others`) breaks."""
    tree = tidy.Tree([Source(path, text)] + [Source(other, "") for other in others])
    return {rule for where, _, rule, _ in tidy.violations(tree) if where == path}


def lines(rule, path, text):
    return [line for _, line, _ in rule(Source(path, text))]


class SourceTest(unittest.TestCase):
    def test_comments_and_literals_are_blanked(self):
        code = Source("a.cc", '''
x = "assert(1)"; // assert(2)
/* assert(3)
   assert(4) */ y = 1'000'000; z = '"'; assert(5);
r = R"(assert(6) " )"; q = '\\''; s = "\\"assert(7)";
''').code
        self.assertEqual(code.count("assert"), 1)
        self.assertIn("assert(5)", code)
        self.assertIn("1'000'000", code)

    def test_line_numbers_survive_blanking(self):
        self.assertEqual(lines(rules.banned_calls, "raft/a.cc", "/*\n\n*/\nassert(x);\n"), [4])

    def test_inside(self):
        self.assertTrue(inside("a/b/c.cc", ["a/"]))
        self.assertTrue(inside("a/rocks_x.cc", ["a/rocks_*"]))
        self.assertTrue(inside("a/b.cc", ["a/b.cc"]))
        self.assertFalse(inside("ab/c.cc", ["a/", "a/b.cc", "ab/c"]))


class IncludeTest(unittest.TestCase):
    def allowed(self, path, *targets):
        for target in targets:
            text = f'#include "{target}"\n' if target[0] != "<" else f"#include {target}\n"
            self.assertEqual(lines(rules.include_direction, path, text), [], (path, target))

    def refused(self, path, *targets):
        for target in targets:
            text = f'#include "{target}"\n' if target[0] != "<" else f"#include {target}\n"
            self.assertEqual(lines(rules.include_direction, path, text), [1], (path, target))

    def test_the_floor_sees_nothing_above(self):
        self.allowed("server/base/log.cc", "server/base/log.h", "absl/time/time.h", "<string>",
                     "<spdlog/logger.h>")
        self.refused("server/base/log.cc", "raft/raft.h", "proto/rpc.pb.h", "server/config.h",
                     "<rocksdb/db.h>", "<google/protobuf/message.h>")
        self.refused("server/base/strand.cc", "<spdlog/logger.h>", "<prometheus/counter.h>")

    def test_siblings_do_not_see_each_other(self):
        for path in ("raft/a.cc", "wal/a.cc", "snap/a.cc"):
            self.allowed(path, "server/base/check.h", "proto/raft.pb.h", path[:-3] + ".h")
        self.refused("raft/a.cc", "wal/wal.h", "snap/snapshotter.h", "mvcc/store.h",
                     "server/config.h")
        self.refused("wal/a.cc", "raft/raft.h", "snap/snapshotter.h", "server/etcd_server.h")
        self.refused("snap/a.cc", "raft/raft.h", "wal/wal.h", "mvcc/backend/backend.h")
        self.refused("mvcc/store.cc", "raft/raft.h", "server/lease/lessor.h")
        self.allowed("mvcc/store.cc", "mvcc/backend/backend.h", "server/base/check.h")
        self.refused("mvcc/backend/mem_backend.cc", "mvcc/store.h")
        self.refused("server/lease/lessor.cc", "server/auth/auth_store.h", "mvcc/store.h")
        self.refused("server/consensus/raft_loop.cc", "mvcc/store.h", "server/etcd_server.h")

    def test_the_facade_and_the_rim(self):
        self.allowed("server/etcd_server.cc", "server/apply/applier.h", "server/config.h",
                     "server/consensus/raft_loop.h", "mvcc/store.h")
        self.refused("server/etcd_server.cc", "server/rpc/call.h", "server/net/listener.h",
                     "server/daemon.h")
        self.allowed("server/rpc/kv_service.cc", "server/etcd_server.h")
        self.refused("server/rpc/kv_service.cc", "server/net/listener.h", "<boost/asio.hpp>")
        self.allowed("server/net/a.cc", "server/rpc/call.h", "<nghttp2/nghttp2.h>")
        self.refused("server/net/a.cc", "server/rpc/kv_service.h", "server/etcd_server.h",
                     "server/http/gateway.h")
        self.allowed("cmd/etcdd/main.cc", "server/daemon.h", "<CLI/CLI.hpp>")
        self.allowed("server/daemon.cc", "server/daemon.h", "server/net/listener.h",
                     "server/rpc/dispatch.h", "server/etcd_server.h", "<boost/asio.hpp>")
        self.refused("server/rpc/kv_service.cc", "server/daemon.h")
        self.refused("server/daemon.cc", "tests/support/fake_clock.h", "<grpcpp/grpcpp.h>")
        self.refused("server/config.cc", "<yaml-cpp/yaml.h>")

    def test_third_party_has_its_place(self):
        self.allowed("mvcc/backend/rocks_backend.cc", "<rocksdb/db.h>")
        self.refused("mvcc/store.cc", "<rocksdb/db.h>")
        self.refused("mvcc/backend/mem_backend.cc", "<rocksdb/db.h>")
        self.allowed("tests/integration/a.cc", "<grpcpp/grpcpp.h>", "server/net/listener.h")
        self.refused("server/net/a.cc", "<grpcpp/grpcpp.h>", "<gtest/gtest.h>")
        self.allowed("server/auth/jwt_token.cc", "<openssl/evp.h>")
        self.refused("server/apply/applier.cc", "<openssl/evp.h>", "<boost/asio.hpp>")

    def test_third_party_may_stand_in_quotes(self):
        self.allowed("server/net/a.cc", "boost/asio/buffer.hpp")
        self.refused("server/apply/a.cc", "boost/asio/buffer.hpp", "rocksdb/db.h")
        self.assertNotIn("include_exists", found("tests/a.cc", '#include "gtest/gtest.h"\n'))

    def test_an_unknown_folder_must_enter_the_graph(self):
        self.assertIsNone(graph.zone_of("server/unheard/a.cc"))
        self.refused("server/unheard/a.cc", "server/base/check.h")

    def test_raft_is_pure(self):
        for target in ("<thread>", "<mutex>", "<chrono>", "<sys/socket.h>", "<unistd.h>"):
            self.assertEqual(lines(rules.raft_is_pure, "raft/a.h", f"#include {target}\n"), [1])
        for target in ("absl/synchronization/mutex.h", "server/base/clock.h"):
            self.assertEqual(lines(rules.raft_is_pure, "raft/a.h", f'#include "{target}"\n'), [1])
        self.assertEqual(lines(rules.raft_is_pure, "raft/a.h",
                               '#include <map>\n#include "server/base/check.h"\n'), [])
        self.assertEqual(lines(rules.raft_is_pure, "wal/a.h", "#include <thread>\n"), [])

    def test_include_from_root(self):
        self.assertEqual(lines(rules.include_from_root, "raft/a.cc", '#include "a.h"\n'), [1])
        self.assertEqual(lines(rules.include_from_root, "raft/a.cc",
                               "#include <absl/time/time.h>\n"), [1])
        self.assertEqual(lines(rules.include_from_root, "raft/a.cc", '#include "raft/a.h"\n'), [])

    def test_own_header_first(self):
        late = '#include <map>\n\n#include "raft/a.h"\n'
        early = '#include "raft/a.h"\n\n#include <map>\n'
        self.assertIn("own_header_first", found("raft/a.cc", late, ["raft/a.h"]))
        self.assertNotIn("own_header_first", found("raft/a.cc", early, ["raft/a.h"]))
        self.assertNotIn("own_header_first", found("raft/a.cc", "#include <map>\n"))

    def test_include_exists(self):
        text = '#include "raft/b.h"\n'
        self.assertIn("include_exists", found("raft/a.cc", text))
        self.assertNotIn("include_exists", found("raft/a.cc", text, ["raft/b.h"]))
        self.assertNotIn("include_exists", found("raft/a.cc", '#include "proto/kv.pb.h"\n'))


class FormTest(unittest.TestCase):
    def test_pragma_once(self):
        self.assertIn("pragma_once", found("raft/a.h", "int x;\n"))
        self.assertNotIn("pragma_once", found("raft/a.h", "#pragma once\n"))
        self.assertNotIn("pragma_once", found("raft/a.cc", "int x;\n"))

    def test_columns_count_letters_not_bytes(self):
        self.assertEqual(lines(rules.columns, "raft/a.h", "x" * 101 + "\n"), [1])
        self.assertEqual(lines(rules.columns, "raft/a.h", "ü" * 100 + "\n"), [])
        self.assertEqual(lines(rules.columns, "README.md", "x" * 300 + "\n"), [])

    def test_file_lines(self):
        self.assertIn("file_lines", found("raft/a.h", "\n" * 601))
        self.assertNotIn("file_lines", found("raft/a.h", "\n" * 600))

    def test_blanks(self):
        self.assertEqual(lines(rules.blanks, "raft/a.h", "a \nb\n\tc\nd"), [1, 3, 4])
        self.assertEqual(lines(rules.blanks, "raft/a.h", "a\n\nb\n"), [])

    def test_unfinished(self):
        for word in ("TODO", "FIXME", "XXX", "HACK"):
            self.assertIn("unfinished", found("raft/a.cc", f"// {word}: later\n"))
        self.assertNotIn("unfinished", found("raft/a.cc", '"/tmp/etcdd-XXXXXX"\n'))

    def test_machine_path(self):
        self.assertIn("machine_path", found("docs/a.md", "see /wor" + "k/main\n"))
        self.assertNotIn("machine_path", found("docs/a.md", "see network/work/ and ./work/x\n"))

    def test_every_source_in_a_target(self):
        cc = Source("raft/a.cc", "")
        inner = Source("mvcc/backend/b.cc", "")

        def missing(*cmake):
            tree = tidy.Tree([cc, inner] + list(cmake))
            return [path for path, _, _ in rules.every_source_in_a_target(tree)]

        self.assertEqual(missing(), ["raft/a.cc", "mvcc/backend/b.cc"])
        self.assertEqual(missing(Source("raft/CMakeLists.txt", "add_library(a a.cc)\n"),
                                 Source("mvcc/CMakeLists.txt", "SOURCES\n  backend/b.cc\n")), [])
        self.assertEqual(missing(Source("raft/CMakeLists.txt", "# a.cc\n"),
                                 Source("CMakeLists.txt",
                                        "${PROJECT_SOURCE_DIR}/mvcc/backend/b.cc\n")),
                         ["raft/a.cc"])

    def test_every_folder_has_a_readme(self):
        bare = tidy.Tree([Source("raft/a.cc", "")])
        self.assertEqual([p for p, _, _ in rules.every_folder_has_a_readme(bare)],
                         ["raft/README.md"])
        good = tidy.Tree([Source("raft/a.cc", ""), Source("raft/README.md", "")])
        self.assertEqual(list(rules.every_folder_has_a_readme(good)), [])


class BannedCallsTest(unittest.TestCase):
    BAD = [
        ("raft/a.cc", "std::this_thread::sleep_for(x);"), ("tests/raft/a.cc", "usleep(10);"),
        ("tests/e2e/a.cc", "absl::SleepFor(x);"), ("wal/a.cc", "::sleep(1);"),
        ("server/a.cc", "int x = rand();"), ("tests/a.cc", "std::random_device d;"),
        ("server/a.cc", "std::mt19937_64 r;"), ("server/a.cc", "time(NULL)"),
        ("server/a.cc", "std::time(nullptr)"), ("server/a.cc", "absl::Now()"),
        ("tests/mvcc/a.cc", "std::chrono::steady_clock::now()"),
        ("server/a.cc", "std::chrono::system_clock::now()"), ("server/a.cc", "assert(x);"),
        ("tests/a.cc", "  assert (x);"), ("server/a.cc", "std::cout << 1;"),
        ("server/a.cc", 'fprintf(stderr, "");'), ("tests/a.cc", "using namespace std;"),
        ("server/a.cc", "abort();"), ("server/a.cc", "std::abort();"),
        ("cmd/etcdd/a.cc", "std::abort();"), ("server/a.cc", "exit(1);"),
        ("wal/a.cc", "int f = open(p, O_RDONLY);"), ("wal/a.cc", "::open(p, 0);"),
        ("wal/a.cc", 'fopen(p, "r");'), ("wal/a.cc", "std::ifstream in(p);"),
        ("snap/a.cc", "std::filesystem::remove(p);"), ("server/a.cc", "std::mutex m;"),
        ("raft/a.cc", "throw 1;"), ("tests/a.cc", "TEST(A, DISABLED_b) {}"),
        ("tests/a.cc", "GTEST_SKIP();"),
    ]
    GOOD = [
        ("raft/a.cc", "static_assert(sizeof(x) == 8);"), ("raft/a.cc", "Operand(); operand(1);"),
        ("wal/a.cc", "fs->Open(path); file.open(p); File::open(p); reopen(x); is_open();"),
        ("server/a.cc", "snprintf(b, 1, x); runtime(0); clock->Now(); uptime(0);"),
        ("server/a.cc", "// time(NULL)"), ("server/a.cc", 'Log("assert(x)");'),
        ("server/base/clock.cc", "std::chrono::steady_clock::now();"),
        ("server/base/check.cc", "std::abort();"), ("cmd/etcdd/main.cc", "std::cout << 1;"),
        ("server/daemon.cc", "std::exit(1);"), ("tests/bench/a.cc", "absl::Now();"),
        ("server/base/posix_file_system.cc", "open(p, 0); std::filesystem::remove(p);"),
        ("tests/a.cc", "std::mutex m; std::ifstream in(p);"), ("raft/a.cc", "using std::move;"),
        ("server/a.cc", "stream.abort(); transaction->abort();"),
    ]

    def test_bad(self):
        for path, text in self.BAD:
            self.assertEqual(lines(rules.banned_calls, path, text + "\n"), [1], (path, text))

    def test_good(self):
        for path, text in self.GOOD:
            self.assertEqual(lines(rules.banned_calls, path, text + "\n"), [], (path, text))

    def test_every_ban_has_a_bad_snippet(self):
        for pattern, _, instead in rules._BANNED:
            self.assertTrue(any(pattern.search(text) for _, text in self.BAD), instead)


class ExemptionTest(unittest.TestCase):
    def test_an_exemption_hides_its_violation_only(self):
        violations = [("a/x.cc", 1, "columns", "t"), ("a/x.cc", 2, "blanks", "t"),
                      ("b.cc", 1, "columns", "t")]
        self.assertEqual(tidy.apply_exemptions(violations, [("columns", "a/", "why")]),
                         violations[1:])

    def test_an_unneeded_exemption_is_reported(self):
        left = tidy.apply_exemptions([], [("columns", "a/", "why")])
        self.assertEqual([rule for _, _, rule, _ in left], ["exemptions"])

    def test_each_has_a_reason_and_a_rule(self):
        names = {rule.__name__ for rule in
                 rules.SOURCE_RULES + rules.SOURCE_IN_TREE_RULES + rules.TREE_RULES}
        for rule, _, reason in exemptions.EXEMPTIONS:
            self.assertIn(rule, names)
            self.assertTrue(reason)


if __name__ == "__main__":
    unittest.main()
