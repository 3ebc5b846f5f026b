"""Talking gRPC to a member with message classes made from our own proto files.

Nothing of a client library is in between: requests go out and replies come in exactly as built
here, malformed ones included. The classes are generated into a temporary folder by protoc, so the
test needs neither grpc_tools nor generated files in the tree.
"""

import atexit
import importlib
import queue
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import grpc

ROOT = Path(__file__).resolve().parents[2]
_FILES = ["auth", "kv", "version", "rpc", "v3lock", "v3election"]

# What a request may take before the test gives up on the server.
CALL_SECONDS_MAX = 20


def _generate():
    folder = tempfile.mkdtemp(prefix="etcdd-proto-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    subprocess.run(["protoc", f"-I{ROOT}", f"--python_out={folder}"]
                   + [f"proto/{name}.proto" for name in _FILES], check=True)
    sys.path.insert(0, folder)
    return {name: importlib.import_module(f"proto.{name}_pb2") for name in _FILES}


_modules = _generate()
auth = _modules["auth"]
kv = _modules["kv"]
rpc = _modules["rpc"]
v3lock = _modules["v3lock"]
v3election = _modules["v3election"]


class Method:
    """One RPC: its path and message classes, found by its bare name (names are unique)."""

    def __init__(self, service, method):
        self.name = method.name
        self.path = f"/{service.full_name}/{method.name}"
        self.request = method.input_type._concrete_class
        self.reply = method.output_type._concrete_class


METHODS = {
    method.name: Method(service, method)
    for module in (rpc, v3lock, v3election)
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}


class Answer:
    """Outcome of a call: gRPC code name in etcd's spelling, error text, reply (None on error)."""

    def __init__(self, code, text, reply):
        self.code = code
        self.text = text
        self.reply = reply

    @property
    def ok(self):
        return self.code == "OK"

    def __str__(self):
        return f"{self.code} {self.text}" if not self.ok else f"OK\n{show(self.reply)}"


def show(message):
    """A message as short text."""
    if message is None:
        return "(none)"
    if isinstance(message, bytes):
        return f"(raw bytes) {message[:40]!r}, {len(message)} in all"
    text = str(message) or "(empty)\n"
    return text if len(text) < 6000 else text[:3000] + f"... ({len(text)} characters)\n"


def code_name(code):
    """UNIMPLEMENTED -> Unimplemented, INVALID_ARGUMENT -> InvalidArgument."""
    return "OK" if code == grpc.StatusCode.OK else code.name.title().replace("_", "")


def serialized(request):
    """Deterministic bytes of a message; bytes are sent as they are."""
    return request if isinstance(request, bytes) else request.SerializeToString()


class Pending:
    """A call under way."""

    def __init__(self, future, reply_class):
        self._future = future
        self._reply_class = reply_class

    def answer(self):
        """Waits for the end of the call."""
        try:
            data = self._future.result()
        except grpc.RpcError as error:
            return Answer(code_name(error.code()), error.details(), None)
        return Answer("OK", "", self._reply_class.FromString(data) if self._reply_class else data)


class BidiStream:
    """A stream in both directions; replies are collected by grpc's own thread."""

    def __init__(self, channel, method, metadata=None):
        self._outgoing = queue.Queue()
        self._reply_class = method.reply
        self._call = channel.stream_stream(method.path)(
            iter(self._outgoing.get, None), metadata=metadata)

    def send(self, request):
        self._outgoing.put(serialized(request))

    def half_close(self):
        self._outgoing.put(None)

    def cancel(self):
        self._outgoing.put(None)
        self._call.cancel()

    def replies(self):
        """Yields replies until the stream ends; raises grpc.RpcError unless it ends with OK."""
        for data in self._call:
            yield self._reply_class.FromString(data)


class Client:
    """A connection to one member."""

    def __init__(self, address):
        self.address = address
        self.channel = grpc.insecure_channel(address, options=[
            ("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1),
            ("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)])

    def start(self, name, request, metadata=None):
        """Starts a unary call and returns at once. `name` is an RPC name or a raw path."""
        method = METHODS.get(name)
        call = self.channel.unary_unary(method.path if method else name)
        future = call.future(serialized(request), timeout=CALL_SECONDS_MAX, metadata=metadata)
        return Pending(future, method.reply if method else None)

    def call(self, name, request, metadata=None):
        return self.start(name, request, metadata).answer()

    def collect(self, name, request, metadata=None):
        """A server-streaming call to its end: (Answer without reply, replies)."""
        method = METHODS[name]
        replies = []
        try:
            for data in self.channel.unary_stream(method.path)(
                    serialized(request), timeout=CALL_SECONDS_MAX, metadata=metadata):
                replies.append(method.reply.FromString(data))
        except grpc.RpcError as error:
            return Answer(code_name(error.code()), error.details(), None), replies
        return Answer("OK", "", None), replies

    def stream(self, name, metadata=None):
        return BidiStream(self.channel, METHODS[name], metadata)

    def close(self):
        self.channel.close()
