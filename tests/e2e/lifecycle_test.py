"""Starting, stopping, pausing and restarting a member."""

import os
import resource
import signal
import socket
import subprocess
import threading
import time
import unittest

import grpc

import api
import member
from case import MemberTest


class StopTest(MemberTest):

    def test_idle_member_stops_at_once_and_ends_by_the_signal(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number):
                m = self.member().start()
                with api.Client(m.endpoint) as client:
                    client.put(b"k", b"v")
                begin = time.monotonic()
                m.signal(number)
                self.assertEqual(m.wait(), -number)
                self.assertLess(time.monotonic() - begin, 1.5)
                self.assertIn("received signal; shutting down", m.messages())
                self.assertEqual(m.messages()[-1], "closed etcd server")
                self.assertEqual(m.errors(), [])

    def test_a_client_that_reads_nothing_delays_the_stop_for_a_bounded_time(self):
        """It answers neither the GOAWAY nor the end of the stream of bytes."""
        m = self.member().start()
        with socket.create_connection(("127.0.0.1", m.port)) as silent:
            silent.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
            silent.recv(1)
            begin = time.monotonic()
            self.assertEqual(m.terminate(), 0)
            self.assertLess(time.monotonic() - begin, 5)

    def test_requests_in_flight_are_answered_or_get_a_connection_error(self):
        m = self.member().start()
        acknowledged, problems = [], []

        def work(number):
            count = 0
            with api.Client(m.endpoint) as client:
                while True:
                    key = f"{number}/{count}".encode()
                    try:
                        client.put(key, b"v")
                    except grpc.RpcError as error:
                        if error.code() != grpc.StatusCode.UNAVAILABLE:
                            problems.append(error)
                        return
                    acknowledged.append(key)
                    count += 1

        threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        while len(acknowledged) < 50:
            time.sleep(0.001)
        self.assertEqual(m.terminate(), 0)
        for thread in threads:
            thread.join()
        self.assertEqual(problems, [])
        m.start()
        client = self.client(m)
        found = {kv.key for kv in client.get(b"\0", range_end=b"\0").kvs}
        self.assertEqual(set(acknowledged) - found, set())

    def test_watch_streams_end(self):
        m = self.member().start()
        client = self.client(m)
        stream = api.Stream(client.Watch)
        stream.send(api.WatchRequest(create_request={"key": b"k"}))
        self.assertTrue(next(stream).created)
        begin = time.monotonic()
        m.signal(signal.SIGTERM)
        with self.assertRaises(grpc.RpcError) as caught:
            next(stream)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE)
        self.assertEqual(m.wait(), -signal.SIGTERM)
        # At most the request timeout of 7 s, after which open streams are cut.
        self.assertLess(time.monotonic() - begin, 8)

    def test_a_second_signal_changes_nothing(self):
        m = self.member().start()
        m.signal(signal.SIGTERM)
        m.signal(signal.SIGTERM)
        self.assertEqual(m.wait(), -signal.SIGTERM)


class RestartTest(MemberTest):

    def test_everything_is_kept(self):
        for how in ("terminate", "kill"):
            with self.subTest(how):
                m = self.member().start()
                client = self.client(m)
                client.grant(1000, 77)
                client.put(b"leased", b"v", lease=77)
                for i in range(10):
                    client.put(b"k", str(i).encode())
                client.compact(6)
                client.alarm(action=1, member=5, alarm=1)
                before = client.get(b"\0", range_end=b"\0")
                hashed = client.hash_kv().hash
                getattr(m, how)()
                client.close()
                m.start()
                client = self.client(m)
                after = client.get(b"\0", range_end=b"\0")
                self.assertEqual(after.kvs, before.kvs)
                self.assertEqual(after.header.revision, before.header.revision)
                self.assertEqual(client.hash_kv().hash, hashed)
                self.assertEqual(client.leases(), {77})
                left = client.LeaseTimeToLive(
                    api.LeaseTimeToLiveRequest(ID=77, keys=True), timeout=20)
                self.assertEqual((left.grantedTTL, list(left.keys)), (1000, [b"leased"]))
                self.assertGreater(left.TTL, 990)
                self.assert_code(grpc.StatusCode.OUT_OF_RANGE,
                                 "required revision has been compacted",
                                 client.get, b"k", revision=5)
                self.assertEqual(client.get(b"k", revision=6).kvs[0].value, b"3")
                alarms = client.alarm().alarms
                self.assertEqual([(a.memberID, a.alarm) for a in alarms], [(5, 1)])
                self.assert_code(grpc.StatusCode.RESOURCE_EXHAUSTED, "database space exceeded",
                                 client.put, b"k", b"v")
                client.alarm(action=2, member=5, alarm=1)
                client.put(b"k", b"v")

    def test_lease_expires_after_a_restart_and_not_before_its_ttl(self):
        m = self.member().start()
        client = self.client(m)
        client.grant(3, 9)
        granted = time.monotonic()
        client.put(b"k", b"v", lease=9)
        m.kill()
        client.close()
        m.start()
        client = self.client(m)
        gone = None
        while gone is None and time.monotonic() < granted + member.PATIENCE_SECONDS:
            if client.value(b"k") is None:
                gone = time.monotonic()
        self.assertGreater(gone - granted, 3)
        self.assertEqual(client.leases(), set())

    def test_pause(self):
        """A process that was stopped for longer than the election timeout goes on as if nothing
        had happened, for clients with open streams too."""
        m = self.member().start()
        client = self.client(m)
        client.grant(1000, 5)
        stream = api.Stream(client.Watch)
        stream.send(api.WatchRequest(create_request={"key": b"k"}))
        next(stream)
        m.signal(signal.SIGSTOP)
        waiting = client.Put.future(api.PutRequest(key=b"k", value=b"1"), timeout=30)
        with self.assertRaises(grpc.FutureTimeoutError):
            waiting.result(timeout=2)
        m.signal(signal.SIGCONT)
        revision = waiting.result(timeout=30).header.revision
        self.assertEqual(next(stream).events[0].kv.mod_revision, revision)
        self.assertEqual(client.value(b"k"), b"1")
        keepalive = api.Stream(client.LeaseKeepAlive)
        keepalive.send(api.LeaseKeepAliveRequest(ID=5))
        self.assertEqual(next(keepalive).TTL, 1000)


class LockTest(MemberTest):

    WAITS = "db file is flocked by another process, or taking too long"

    def test_second_process_waits_and_goes_on_when_the_first_ends(self):
        first = self.member().start()
        self.client(first).put(b"k", b"v")
        second = self.member(data_dir=first.data_dir).launch()
        second.wait_for_log(self.WAITS)
        self.assertNotIn(second.ready, second.messages())
        self.client(first).put(b"k", b"w")
        first.kill()
        second.wait_for_log(second.ready)
        self.assertEqual(self.client(second).value(b"k"), b"w")

    def test_waiting_process_can_be_stopped(self):
        first = self.member().start()
        second = self.member(data_dir=first.data_dir).launch()
        second.wait_for_log(self.WAITS)
        self.assertEqual(second.terminate(), 0)
        self.client(first).put(b"k", b"v")


class StartRefusedTest(MemberTest):

    def test_port_in_use(self):
        first = self.member().start()
        second = self.member(port=first.port)
        self.assertEqual(second.run_to_end(), 1)
        last = second.log()[-1]
        self.assertEqual((last["level"], last["msg"]), ("fatal", "discovery failed"))
        self.assertEqual(last["error"], f"listen tcp 127.0.0.1:{first.port}: bind: "
                                        "address already in use")

    def test_too_few_descriptors(self):
        m = self.member()
        limit = (100, 100)
        self.assertEqual(m.run_to_end(
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, limit)), 1)
        self.assertIn("file descriptor limit of etcd process is too low; please set higher",
                      m.log()[-1]["error"])

    # Arguments, exit code, text on stderr.
    FLAGS = [
        (["--no-such"], 2, "flag provided but not defined: -no-such"),
        (["--heartbeat-interval=abc"], 2,
         'invalid value "abc" for flag -heartbeat-interval: parse error'),
        (["--name"], 2, "flag needs an argument: -name"),
        (["--initial-cluster-state=x"], 2,
         'invalid value "x" for flag -initial-cluster-state: invalid value'),
        (["--listen-client-urls", "127.0.0.1:2379"], 2, "invalid value"),
        (["stray"], 1, '\\"stray\\" is not a valid flag'),
        (["--heartbeat-interval", "0"], 1, "--heartbeat-interval must be >0 (set to 0ms)"),
        (["--election-timeout", "499"], 1, "--election-timeout[499ms] should be at least as 5 "
                                           "times as --heartbeat-interval[100ms]"),
        (["--election-timeout", "50001"], 1, "--election-timeout[50001ms] is too long"),
        (["--listen-client-urls", "http://127.0.0.1:1"], 1,
         "--advertise-client-urls is required when --listen-client-urls is set explicitly"),
        (["--auto-compaction-mode=x"], 1, 'unknown auto-compaction-mode \\"x\\"'),
        (["--listen-metrics-urls=https://127.0.0.1:1"], 1,
         "client TLS key/cert (--cert-file, --key-file) must be provided for metrics secure url"),
        (["--discovery-token=t"], 1,
         "both --discovery-token and --discovery-endpoints must be set"),
        (["--initial-cluster", "other=http://localhost:2380"], 1,
         "couldn't find local name \\\"default\\\" in the initial cluster configuration"),
    ]

    def test_wrong_flags(self):
        for arguments, code, text in self.FLAGS:
            with self.subTest(arguments):
                m = self.member()
                ended = subprocess.run([m.program, "--data-dir", m.data_dir] + arguments,
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                       timeout=member.PATIENCE_SECONDS, check=False)
                self.assertEqual(ended.returncode, code, ended.stderr)
                self.assertIn(text, ended.stderr)
                self.assertFalse(os.path.exists(m.data_dir), "a refused start left files")

    def test_version_and_help(self):
        version = subprocess.run([member.etcdd_binary(), "--version"], stdout=subprocess.PIPE,
                                 text=True, check=True).stdout
        self.assertRegex(version, r"^etcd Version: 3\.7\.\d+\n")
        shown = subprocess.run([member.etcdd_binary(), "--help"], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, check=True)
        self.assertIn("--listen-client-urls", shown.stdout)


if __name__ == "__main__":
    unittest.main()
