"""A client with Python's own gRPC against the echo service; prints "all passed" at the end."""

import sys
import threading

import grpc

channel = grpc.insecure_channel(
    sys.argv[1],
    options=[("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)],
)


def unary(method, **kwargs):
    return lambda request: channel.unary_unary("/test.Echo/" + method)(
        request, timeout=20, **kwargs
    )


def expect(condition, what):
    if not condition:
        sys.exit("failed: " + what)


def expect_error(call, code, text):
    try:
        call()
    except grpc.RpcError as error:
        expect(error.code() == code, "code %s instead of %s" % (error.code(), code))
        expect(text in error.details(), "text %r without %r" % (error.details(), text))
        return
    sys.exit("failed: no error, expected " + text)


expect(unary("Unary")(b"hello") == b"hello", "unary")
expect(unary("Unary")(b"") == b"", "empty unary")
large = b"x" * 1_900_000
expect(unary("Unary")(large) == large, "large unary")
expect(len(unary("Big")(b"20000000")) == 20_000_000, "large reply")
expect(unary("Unary", compression=grpc.Compression.Gzip)(large) == large, "gzip request")
expect(unary("Meta", metadata=[("token", "t.1")])(b"token") == b"t.1", "metadata")
expect(unary("Meta", metadata=[("x-bin", b"\0\1\xff")])(b"x-bin") == b"\0\1\xff", "binary metadata")

StatusCode = grpc.StatusCode
expect_error(lambda: unary("Nope")(b""), StatusCode.UNIMPLEMENTED,
             "unknown method Nope for service test.Echo")
expect_error(lambda: channel.unary_unary("/no.Such/M")(b"", timeout=20),
             StatusCode.UNIMPLEMENTED, "unknown service no.Such")
expect_error(lambda: unary("Fail")("5 caf\u00e9 100%".encode()), StatusCode.NOT_FOUND,
             "caf\u00e9 100%")
expect_error(lambda: unary("Unary")(b"x" * 3_000_000), StatusCode.RESOURCE_EXHAUSTED,
             "grpc: received message larger than max (3000000 vs. 2097152)")
expect_error(lambda: channel.unary_unary("/test.Echo/Hold")(b"", timeout=0.1),
             StatusCode.DEADLINE_EXCEEDED, "")
expect_error(lambda: unary("Unary", compression=grpc.Compression.Deflate)(large),
             StatusCode.UNIMPLEMENTED, "grpc-encoding")

echo = channel.stream_stream("/test.Echo/Stream")
sent = [b"a", b"", b"b" * 100_000, b"c"]
expect(list(echo(iter(sent), timeout=20)) == sent, "stream")
flood = channel.unary_stream("/test.Echo/Flood")
expect(sum(len(m) for m in flood(b"30000", timeout=60)) == 30_000 * 1024, "flood")
cancelled = flood(b"1000000", timeout=60)
next(cancelled)
cancelled.cancel()
expect(unary("Unary")(b"after") == b"after", "a call after a cancelled stream")

# Many calls at once on the one connection, beside an open stream that waits.
release = threading.Event()


def requests():
    yield b"first"
    release.wait(20)
    yield b"last"


open_stream = echo(requests(), timeout=60)
expect(next(open_stream) == b"first", "open stream")
futures = [channel.unary_unary("/test.Echo/Unary").future(b"%d" % i, timeout=60)
           for i in range(2000)]
for i, future in enumerate(futures):
    expect(future.result() == b"%d" % i, "concurrent call %d" % i)
release.set()
expect(next(open_stream) == b"last", "open stream after the calls")

health = channel.unary_unary("/grpc.health.v1.Health/Check")
expect(health(b"", timeout=20) == b"\x08\x01", "health")
print("all passed")
