"""Clients that misbehave, while another client goes on working."""

import os
import random
import resource
import socket
import time
import unittest

import grpc

import api
import member
from case import MemberTest

# The beginning of a TLS 1.2 ClientHello.
CLIENT_HELLO = (bytes.fromhex("16030100c8010000c40303") + bytes(range(32)) + b"\x00\x00\x1e"
                + bytes.fromhex("130113021303c02bc02fc02cc030cca9cca8c013c014009c009d002f0035"))
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
EMPTY_SETTINGS = bytes.fromhex("000000040000000000")


def _literal(name, value):
    """A header field in HPACK without table or Huffman code."""
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def _frame(kind, flags, stream, payload):
    return (len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big")
            + payload)


def put_session(key, value):
    """All bytes a client sends to put one key over gRPC."""
    head = b"".join(_literal(*field) for field in (
        (b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/etcdserverpb.KV/Put"),
        (b":authority", b"a"), (b"content-type", b"application/grpc"), (b"te", b"trailers")))
    message = api.PutRequest(key=key, value=value).SerializeToString()
    body = b"\0" + len(message).to_bytes(4, "big") + message
    return PREFACE + EMPTY_SETTINGS + _frame(1, 4, 1, head) + _frame(0, 1, 1, body)


class HostileClientTest(MemberTest):

    def setUp(self):
        self.m = self.member().start()
        self.c = self.client(self.m)
        self.c.put(b"k", b"v")

    def tearDown(self):
        self.assertEqual(self.c.value(b"k"), b"v")
        self.assertIsNone(self.m.process.poll())
        self.assertEqual(self.m.errors(), [])

    def test_oversized_requests(self):
        self.assert_code(grpc.StatusCode.INVALID_ARGUMENT, "etcdserver: request is too large",
                         self.c.put, b"big", bytes(1600 << 10))
        self.assert_code(grpc.StatusCode.RESOURCE_EXHAUSTED, "received message larger than max",
                         self.c.put, b"big", bytes(3 << 20))
        self.assertIsNone(self.c.value(b"big"))

    def send(self, data):
        """Sends bytes on a connection of their own and reads until the server says no more."""
        with socket.create_connection(("127.0.0.1", self.m.port), timeout=10) as connection:
            try:
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass
            except ConnectionError:
                pass

    def test_garbage(self):
        rng = random.Random(7)
        shapes = [CLIENT_HELLO, b"", b"\0", b"\xff" * 100_000, PREFACE[:7], PREFACE,
                  # The head of 16 MiB of DATA.
                  PREFACE + EMPTY_SETTINGS + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01",
                  PREFACE + EMPTY_SETTINGS + bytes.fromhex("00000401040000000100ff00ff"),
                  b"GET / HTTP/1.1\r\n\r\n", b"GET " + b"/a" * 200_000,
                  b"POST /v3/kv/put HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n{"]
        shapes += [rng.randbytes(rng.randrange(1, 3000)) for _ in range(40)]
        shapes += [PREFACE + EMPTY_SETTINGS + rng.randbytes(rng.randrange(1, 3000))
                   for _ in range(40)]
        for count, data in enumerate(shapes):
            with self.subTest(data[:40]):
                self.send(data)
                self.c.put(b"count", str(count).encode())

    def test_damaged_requests(self):
        """A sound session with some bytes changed, lost or doubled."""
        seed = random.SystemRandom().randrange(1 << 32)
        rng = random.Random(seed)
        sound = put_session(b"session", b"v" * 50)
        self.send(sound)
        self.assertEqual(self.c.value(b"session"), b"v" * 50)
        for count in range(1500):
            data = bytearray(sound)
            for _ in range(rng.randrange(1, 5)):
                at = rng.randrange(len(PREFACE), len(data))
                change = rng.randrange(4)
                if change == 0:
                    data[at] = rng.randrange(256)
                elif change == 1:
                    del data[at:at + rng.randrange(1, 20)]
                elif change == 2:
                    data[at:at] = data[rng.randrange(len(PREFACE), len(data)):][:40]
                else:
                    data[at] ^= 1 << rng.randrange(8)
                if len(data) < len(PREFACE) + 10:
                    break
            self.send(bytes(data))
            self.assertIsNone(self.m.process.poll(), f"seed {seed}, count {count}: {bytes(data)}")
        self.c.put(b"count", b"1")

    def test_slow_connections_do_not_stop_others(self):
        held = [socket.create_connection(("127.0.0.1", self.m.port), timeout=10)
                for _ in range(50)]
        for number, connection in enumerate(held):
            connection.sendall(PREFACE[:number % len(PREFACE)])
        self.c.put(b"count", b"1")
        self.assertEqual(self.c.value(b"count"), b"1")
        for connection in held:
            connection.close()

    def test_more_connections_than_descriptors(self):
        """Clients cannot take the descriptors that the member's own files need: it goes on with
        snapshots and new files meanwhile, and takes connections again as soon as some are gone."""
        m = self.member("--snapshot-count", "20", "--listen-metrics-urls",
                        f"http://127.0.0.1:{member.free_port()}")
        m.start(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (300, 300)))
        client = self.client(m)
        client.put(b"k", b"v")
        held = [socket.create_connection(("127.0.0.1", m.port), timeout=20) for _ in range(400)]
        for i in range(100):
            client.put(b"k", bytes(400_000))
        m.wait_for_log("saved snapshot")
        for connection in held:
            connection.close()
        with api.Client(m.endpoint) as later:
            later.put(b"k", b"v")
        self.assertEqual(m.errors(), [])
        self.assertLess(len(m.log()), 200, "floods the log")

    def test_many_connections(self):
        """2000 connections at a time, opened and closed: all their descriptors come back."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4000)), hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        descriptors = f"/proc/{self.m.process.pid}/fd"
        before = len(os.listdir(descriptors))
        held = []
        for number in range(2000):
            connection = socket.create_connection(("127.0.0.1", self.m.port), timeout=20)
            if number % 2:
                connection.sendall(PREFACE + EMPTY_SETTINGS)
            held.append(connection)
        self.c.put(b"count", b"2000")
        self.assertGreaterEqual(len(os.listdir(descriptors)), before + 2000)
        for connection in held:
            connection.close()
        deadline = time.monotonic() + member.PATIENCE_SECONDS
        while len(os.listdir(descriptors)) > before and time.monotonic() < deadline:
            time.sleep(0.01)
        self.assertLessEqual(len(os.listdir(descriptors)), before)
        for _ in range(200):
            with api.Client(self.m.endpoint) as passing:
                passing.put(b"count", b"passing")


if __name__ == "__main__":
    unittest.main()
