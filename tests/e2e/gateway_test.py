"""The JSON gateway over real sockets, and the same requests answered by the installed etcd."""

import base64
import http.client
import json
import os
import shutil
import socket
import subprocess
import unittest

import member
from case import MemberTest

# Fields that differ from member to member, or that are not in the API of etcd 3.4.
MASKED = {"cluster_id", "member_id", "raft_term", "raftTerm", "dbSize", "dbSizeInUse", "raftIndex",
          "raftAppliedIndex", "version", "leader", "hash", "clientURLs", "peerURLs",
          "compact_revision"}
# `version` of a key counts; that of a member is its release.
KEEPS_VERSION = {"kvs", "kv", "prev_kv", "prev_kvs"}
# Fields that an older etcd does not have at all.
NEWER = {"storageVersion", "dbSizeQuota", "downgradeInfo", "hash_revision"}


def b64(text):
    return base64.b64encode(text).decode()


def masked(value, inside=None):
    """Parsed JSON without the values of what may differ."""
    if isinstance(value, list):
        return [masked(each, inside) for each in value]
    if not isinstance(value, dict):
        return value
    hidden = MASKED - {"version"} if inside in KEEPS_VERSION else MASKED
    if inside == "members":
        hidden = hidden | {"ID"}
    return {key: "*" if key in hidden else masked(each, key)
            for key, each in value.items() if key not in NEWER}


def post(m, path, body="", headers=None, method="POST"):
    """(status, headers, body) of one request."""
    connection = http.client.HTTPConnection("127.0.0.1", m.port, timeout=member.PATIENCE_SECONDS)
    try:
        text = body if isinstance(body, str) else json.dumps(body)
        connection.request(method, path, text, headers or {})
        response = connection.getresponse()
        return response.status, response.headers, response.read().decode()
    finally:
        connection.close()


class Chunked:
    """A request whose body goes on while its answer comes."""

    def __init__(self, m, path):
        self.socket = socket.create_connection(("127.0.0.1", m.port), member.PATIENCE_SECONDS)
        self.socket.sendall(f"POST {path} HTTP/1.1\r\nHost: a\r\n"
                            "Transfer-Encoding: chunked\r\n\r\n".encode())
        self.response = None

    def send(self, message):
        text = json.dumps(message).encode()
        self.socket.sendall(b"%x\r\n%s\r\n" % (len(text), text))

    def end(self):
        self.socket.sendall(b"0\r\n\r\n")

    def line(self):
        """The next message of the answer; None at its end."""
        if self.response is None:
            self.response = http.client.HTTPResponse(self.socket)
            self.response.begin()
        text = self.response.readline()
        return json.loads(text) if text else None

    def close(self):
        if self.response is not None:
            self.response.close()
        self.socket.close()


# In this order: each builds upon the ones before.
REQUESTS = [
    ("/v3/kv/put", {"key": b64(b"foo"), "value": b64(b"bar")}),
    ("/v3/kv/put", {"key": b64(b"foo"), "value": b64(b"\x00\xff"), "prev_kv": True}),
    ("/v3beta/kv/put", {"key": "+/8=", "value": "", "unknown": [1, {"a": None}]}),
    ("/v3/kv/range", {"key": b64(b"foo")}),
    ("/v3/kv/range", {"key": "AA==", "range_end": "AA==", "sort_order": "DESCEND",
                      "sort_target": "MOD", "limit": "1"}),
    ("/v3/kv/range", {"key": b64(b"foo"), "revision": 2}),
    ("/v3/kv/range", {"key": b64(b"foo"), "revision": "99"}),
    ("/v3/kv/range", {}),
    ("/v3/kv/put", {"key": b64(b"a"), "lease": 77}),
    ("/v3/kv/txn", {"compare": [{"key": b64(b"foo"), "target": "VALUE", "value": b64(b"\x00\xff")}],
                    "success": [{"request_range": {"key": b64(b"foo")}},
                                {"request_put": {"key": b64(b"t"), "value": b64(b"1")}}],
                    "failure": []}),
    ("/v3/kv/txn", {"compare": [{"key": b64(b"foo"), "result": "GREATER", "target": "VERSION",
                                 "version": "9"}],
                    "failure": [{"request_delete_range": {"key": b64(b"t")}}]}),
    ("/v3/kv/deleterange", {"key": b64(b"foo"), "prev_kv": True}),
    ("/v3/kv/compaction", {"revision": 3}),
    ("/v3/kv/compaction", {"revision": 3}),
    ("/v3/lease/grant", {"ID": 7, "TTL": "600"}),
    ("/v3/lease/grant", {"ID": 7, "TTL": "600"}),
    ("/v3/lease/timetolive", {"ID": 8}),
    ("/v3/kv/lease/leases", ""),
    ("/v3/kv/lease/revoke", {"ID": "7"}),
    ("/v3/lease/revoke", {"ID": "7"}),
    ("/v3/cluster/member/list", {}),
    ("/v3/maintenance/status", {}),
    ("/v3/maintenance/hash", {}),
    ("/v3/maintenance/defragment", {}),
]


class GatewayTest(MemberTest):

    def chunked(self, m, path):
        made = Chunked(m, path)
        self.addCleanup(made.close)
        return made

    @unittest.skipUnless(member.installed("etcd"), "etcd is not installed")
    def test_same_answers_as_etcd(self):
        stock = member.StockEtcd()
        self.addCleanup(stock.stop)
        stock.start()
        ours = self.member().start()
        for path, body in REQUESTS:
            with self.subTest(path=path, body=body):
                theirs = post(stock, path, body)
                answer = post(ours, path, body)
                expected = json.loads(theirs[2])
                if theirs[0] != 200:
                    expected.pop("error")  # only in releases before 3.7
                self.assertEqual(masked(json.loads(answer[2])), masked(expected))
                # 3.4 answers FailedPrecondition with 412.
                self.assertEqual(answer[0], 400 if theirs[0] == 412 else theirs[0])
                self.assertEqual(answer[1]["Content-Type"], theirs[1]["Content-Type"])
                if theirs[0] == 200:
                    self.assertEqual(answer[1]["Grpc-Metadata-Content-Type"],
                                     theirs[1]["Grpc-Metadata-Content-Type"])
        lines = []
        for m in (stock, ours):
            watch = self.chunked(m, "/v3/watch")
            watch.send({"create_request": {"key": b64(b"w")}})
            watch.end()  # etcd answers only then
            got = [watch.line()]
            post(m, "/v3/kv/put", {"key": b64(b"w"), "value": b64(b"1")})
            post(m, "/v3/kv/deleterange", {"key": b64(b"w")})
            lines.append(masked(got + [watch.line(), watch.line()]))
        self.assertEqual(lines[1], lines[0])

    def test_watch_while_the_body_goes_on(self):
        m = self.member().start()
        watch = self.chunked(m, "/v3/watch")
        watch.send({"create_request": {"key": b64(b"a")}})
        self.assertTrue(watch.line()["result"]["created"])
        watch.send({"create_request": {"key": b64(b"b"), "watch_id": 5}})
        self.assertEqual(watch.line()["result"]["watch_id"], "5")
        post(m, "/v3/kv/put", {"key": b64(b"b")})
        self.assertEqual(watch.line()["result"]["events"][0]["kv"]["key"], b64(b"b"))
        watch.send({"cancel_request": {"watch_id": 5}})
        self.assertTrue(watch.line()["result"]["canceled"])
        watch.end()
        post(m, "/v3/kv/put", {"key": b64(b"a")})
        self.assertEqual(watch.line()["result"]["events"][0]["kv"]["key"], b64(b"a"))
        self.assertEqual(m.errors(), [])

    def test_keepalive_ends_with_its_body(self):
        m = self.member().start()
        post(m, "/v3/lease/grant", {"ID": 7, "TTL": 60})
        status, headers, body = post(m, "/v3/lease/keepalive", '{"ID":7}\n{"ID":8}')
        self.assertEqual((status, headers["Transfer-Encoding"]), (200, "chunked"))
        lines = [json.loads(line)["result"] for line in body.splitlines()]
        self.assertEqual([(line["ID"], line.get("TTL")) for line in lines],
                         [("7", "60"), ("8", None)])

    def test_slow_reader_gets_all_events_and_slows_nobody(self):
        """Events of many times what is queued for a client that does not read."""
        m = self.member("--unsafe-no-fsync").start()
        watch = self.chunked(m, "/v3/watch")
        watch.send({"create_request": {"key": b64(b"k")}})
        self.assertTrue(watch.line()["result"]["created"])
        puts = 60
        for _ in range(puts):
            status, _, _ = post(m, "/v3/kv/put", {"key": b64(b"k"), "value": b64(bytes(500_000))})
            self.assertEqual(status, 200)
        revisions = []
        while len(revisions) < puts:
            revisions += [int(event["kv"]["mod_revision"])
                          for event in watch.line()["result"]["events"]]
        self.assertEqual(revisions, list(range(2, 2 + puts)))

    def test_flags(self):
        m = self.member("--host-whitelist", "127.0.0.1", "--cors", "http://a:80").start()
        put = {"key": b64(b"k")}
        status, headers, _ = post(m, "/v3/kv/put", put, {"Origin": "http://a:80"})
        self.assertEqual((status, headers["Access-Control-Allow-Origin"]), (200, "http://a:80"))
        status, headers, _ = post(m, "/v3/kv/put", put, {"Origin": "http://b:80"})
        self.assertEqual((status, headers["Access-Control-Allow-Origin"]), (200, None))
        self.assertEqual(post(m, "/v3/kv/put", put, {"Host": "evil.example"})[0], 421)
        off = self.member("--enable-grpc-gateway=false").start()
        self.assertEqual(post(off, "/v3/kv/put", put)[::2], (404, "404 page not found\n"))

    @unittest.skipUnless(shutil.which("curl"), "curl is not installed")
    def test_curl(self):
        m = self.member().start()
        url = f"http://{m.endpoint}"
        run = lambda *args: subprocess.run(["curl", "-s", *args], check=False, timeout=60,
                                           stdout=subprocess.PIPE).stdout.decode()
        run(f"{url}/v3/kv/put", "-d", '{"key":"Zm9v","value":"YmFy"}')
        got = json.loads(run(f"{url}/v3/kv/range", "-d", '{"key":"Zm9v"}'))
        self.assertEqual(got["kvs"][0]["value"], "YmFy")
        # curl waits for "100 Continue" before bodies of this size.
        big = b64(os.urandom(1_400_000))
        path = os.path.join(m.scratch, "body")
        with open(path, "w", encoding="ascii") as body:
            json.dump({"key": "YmlnCg==", "value": big}, body)
        self.assertIn("header", json.loads(run(f"{url}/v3/kv/put", "-d", f"@{path}")))
        got = json.loads(run(f"{url}/v3/kv/range", "-d", '{"key":"YmlnCg=="}'))
        self.assertEqual(got["kvs"][0]["value"], big)
        lines = run("-N", "-m", "2", f"{url}/v3/watch", "-d",
                    '{"create_request":{"key":"Zm9v","start_revision":"1"}}').splitlines()
        self.assertEqual(len(lines), 2)

    @unittest.skipUnless(shutil.which("curl"), "curl is not installed")
    def test_over_tls_any_host_will_do(self):
        port = member.free_port()
        url = f"https://127.0.0.1:{port}"
        m = self.member("--auto-tls", "--listen-client-urls", url, "--advertise-client-urls", url,
                        "--host-whitelist", "nobody").start()
        got = subprocess.run(["curl", "-sk", f"{url}/v3/kv/put", "-d", '{"key":"Zm9v"}'],
                             check=True, timeout=60, stdout=subprocess.PIPE).stdout.decode()
        self.assertIn("header", json.loads(got))
        self.assertEqual(m.errors(), [])

    def test_etcd3gw(self):
        try:
            import etcd3gw
        except ImportError:
            self.skipTest("python3-etcd3gw is not installed")
        m = self.member().start()
        client = etcd3gw.client(host="127.0.0.1", port=m.port)
        self.assertTrue(client.put("k", "v"))
        self.assertEqual(client.get("k"), [b"v"])
        lease = client.lease(ttl=60)
        self.assertTrue(client.put("l", "1", lease=lease))
        self.assertEqual(lease.keys(), [b"l"])
        self.assertGreater(lease.refresh(), 0)
        self.assertTrue(client.replace("k", "v", "w"))
        self.assertFalse(client.replace("k", "v", "w"))
        self.assertTrue(client.create("new", "1"))
        self.assertFalse(client.create("new", "1"))
        with client.lock("name", ttl=60) as lock:
            self.assertTrue(lock.is_acquired())
        events, cancel = client.watch("k")
        client.put("k", "x")
        self.assertEqual(next(events)["kv"]["value"], b"x")
        cancel()
        self.assertTrue(client.delete("k"))
        self.assertTrue(lease.revoke())


if __name__ == "__main__":
    unittest.main()
