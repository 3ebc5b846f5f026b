"""The pages that operators and monitoring read, and what a member out of space tells."""

import http.client
import json
import re
import socket
import time
import unittest

import grpc

import api
import member
from case import MemberTest


STATUS_LINE = b"HTTP/1.1 200 OK"


def fetch(port, path, method="GET"):
    """(status, headers, body) of one request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=member.PATIENCE_SECONDS)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.headers, response.read().decode()
    finally:
        connection.close()


def metric(page, name):
    """The value of a metric without labels."""
    found = [line for line in page.splitlines() if line.startswith(name + " ")]
    return float(found[0].split()[1])


class HttpTest(MemberTest):

    def test_pages(self):
        metrics_port = member.free_port()
        m = self.member("--listen-metrics-urls", f"http://127.0.0.1:{metrics_port}").start()
        self.client(m).put(b"k", b"v")
        for port in (m.port, metrics_port):
            status, _, body = fetch(port, "/health")
            self.assertEqual((status, json.loads(body)), (200, {"health": "true", "reason": ""}))
            for path in ("/livez", "/readyz"):
                status, _, body = fetch(port, path)
                self.assertEqual((status, body.strip()), (200, "ok"))
            status, _, page = fetch(port, "/metrics")
            self.assertEqual(status, 200)
            self.assertEqual(metric(page, "etcd_server_has_leader"), 1)
            self.assertEqual(metric(page, "etcd_mvcc_put_total"), 1)
            self.assertGreater(metric(page, "process_resident_memory_bytes"), 1 << 20)
            self.assertEqual(fetch(port, "/nonsense")[0], 404)
            status, headers, _ = fetch(port, "/health", "DELETE")
            self.assertEqual((status, headers["Allow"]), (405, "GET"))
        version = json.loads(fetch(m.port, "/version")[2])
        self.assertRegex(version["etcdserver"], r"^3\.7\.\d+$")
        self.assertEqual(version["etcdcluster"], "3.7.0")

    def test_requests_whose_answers_nobody_reads(self):
        """Many requests at once: their answers are made as the client takes them, not before."""
        requests = 1000
        m = self.member().start()
        with socket.create_connection(("127.0.0.1", m.port), member.PATIENCE_SECONDS) as lazy:
            lazy.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n" * requests)
            time.sleep(0.5)
            began = time.monotonic()
            page = fetch(m.port, "/metrics")[2]
            self.assertLess(time.monotonic() - began, 2)
            self.assertLess(metric(page, "process_resident_memory_bytes"), 100 << 20)
            # All of them are answered once the client reads.
            answers, tail = 0, b""
            while answers < requests:
                piece = lazy.recv(1 << 20)
                self.assertTrue(piece, "closed too early")
                answers += (tail + piece).count(STATUS_LINE)
                tail = (tail + piece)[-len(STATUS_LINE) + 1:]

    def test_metrics_port_in_use(self):
        first = self.member().start()
        second = self.member("--listen-metrics-urls", f"http://{first.endpoint}")
        self.assertEqual(second.run_to_end(), 1)
        self.assertIn("bind: address already in use", second.log()[-1]["error"])

    @unittest.skipUnless(member.installed("etcd"), "etcd is not installed")
    def test_metrics_that_dashboards_use_are_those_of_etcd(self):
        """Every metric of etcd that the usual dashboards and alerts are made of is there, with the
        same type and the same labels."""
        stock = member.StockEtcd()
        self.addCleanup(stock.stop)
        m = self.member()
        pages = []
        for one in (stock.start(), m.start()):
            with api.Client(one.endpoint) as client:
                client.put(b"k", b"v")
            pages.append(fetch(one.port, "/metrics")[2])
        theirs, ours = [{line.split()[2]: line.split()[3] for line in page.splitlines()
                         if line.startswith("# TYPE")} for page in pages]
        wanted = [name for name in (
            "etcd_server_has_leader", "etcd_server_leader_changes_seen_total",
            "etcd_server_proposals_failed_total", "etcd_server_proposals_pending",
            "etcd_server_proposals_applied_total", "etcd_server_proposals_committed_total",
            "etcd_server_quota_backend_bytes", "etcd_server_is_leader", "etcd_server_id",
            "etcd_disk_wal_fsync_duration_seconds", "etcd_disk_backend_commit_duration_seconds",
            "etcd_mvcc_db_total_size_in_bytes", "etcd_mvcc_db_total_size_in_use_in_bytes",
            "etcd_network_client_grpc_received_bytes_total",
            "etcd_network_client_grpc_sent_bytes_total", "grpc_server_started_total",
            "grpc_server_handled_total", "grpc_server_msg_received_total",
            "etcd_debugging_mvcc_keys_total", "etcd_debugging_mvcc_watcher_total",
            "process_resident_memory_bytes", "process_open_fds", "process_cpu_seconds_total")]
        for name in wanted:
            with self.subTest(name):
                self.assertEqual(ours.get(name), theirs[name])
        for page in pages:
            counted = [line for line in page.splitlines()
                       if line.startswith("grpc_server_handled_total{") and line.endswith("} 1")]
            self.assertEqual([set(re.findall(r'(\w+)="([^"]*)"', line)) for line in counted],
                             [{("grpc_code", "OK"), ("grpc_method", "Put"),
                               ("grpc_service", "etcdserverpb.KV"), ("grpc_type", "unary")}])

    def test_out_of_space_and_back(self):
        """Quota, alarm, health page, deletion, compaction, disarm: etcd's way out of NOSPACE."""
        m = self.member("--quota-backend-bytes", str(8 << 20), "--unsafe-no-fsync").start()
        client = self.client(m)
        with self.assertRaises(grpc.RpcError) as caught:
            for i in range(64):
                client.put(f"big{i}".encode(), bytes(1 << 20))
        self.assertGreaterEqual(i, 4)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
        self.assertEqual(caught.exception.details(), "etcdserver: mvcc: database space exceeded")
        status, _, body = fetch(m.port, "/health")
        self.assertEqual((status, json.loads(body)),
                         (503, {"health": "false", "reason": "ALARM NOSPACE"}))
        self.assertEqual(fetch(m.port, "/health?exclude=NOSPACE")[0], 200)
        self.assertEqual(fetch(m.port, "/readyz")[0], 200)
        self.assert_code(grpc.StatusCode.RESOURCE_EXHAUSTED, "database space exceeded",
                         client.put, b"small", b"v")
        m.kill()
        m.start()
        client = self.client(m)
        self.assert_code(grpc.StatusCode.RESOURCE_EXHAUSTED, "database space exceeded",
                         client.put, b"small", b"v")
        revision = client.delete(b"big", range_end=b"bih").header.revision
        client.compact(revision)
        # The space comes back in the background, soon after the compaction.
        expired = member.deadline()
        while client.status().dbSize > 1 << 20:
            self.assertFalse(expired(), "the space of what was compacted does not come back")
        member_id = client.alarm().alarms[0].memberID
        client.alarm(action=2, member=member_id, alarm=1)
        for i in range(4):
            client.put(f"big{i}".encode(), bytes(1 << 20))
        self.assertEqual(fetch(m.port, "/health")[0], 200)
        self.assertEqual(m.errors(), [])


if __name__ == "__main__":
    unittest.main()
