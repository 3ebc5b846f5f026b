"""One-member clusters on loopback with fresh data: Debian's etcd as the reference, and etcdd."""

import atexit
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# ctest counts this exit code as skipped.
EXIT_SKIPPED = 77
_START_SECONDS_MAX = 20
_REFERENCE_VERSION = "3.4.23"


def reference_or_skip():
    """Path of the reference etcd. Ends the process as skipped where it is not installed."""
    path = shutil.which("etcd")
    if path is None:
        print("SKIPPED: no etcd on PATH to compare with (Debian package etcd-server)")
        sys.exit(EXIT_SKIPPED)
    version = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
    if _REFERENCE_VERSION not in version:
        print(f"SKIPPED: the answers are known for etcd {_REFERENCE_VERSION}, found: {version!r}")
        sys.exit(EXIT_SKIPPED)
    return path


def _free_ports(count):
    sockets = []
    while len(sockets) < count:
        candidate = socket.socket()
        try:
            candidate.bind(("127.0.0.1", random.SystemRandom().randrange(20001, 60000)))
            sockets.append(candidate)
        except OSError:
            candidate.close()
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Member:
    """A running server. Use as a context manager: the end kills it and removes its data, as does
    the end of the test whatever happened."""

    def __init__(self, name, binary, flags=(), own_client=True):
        """`name` is what reports call it; `flags` are added to the command line. Without
        `own_client` the caller brings a client library; ours and etcd3's message classes cannot
        be loaded into one process."""
        self.name = name
        self._binary = binary
        self._flags = list(flags)
        self._own_client = own_client
        self._process = None
        self.port = None
        self.started_at = 0.0  # When it began to serve, on the monotonic clock.
        self.client = None
        self.folder = Path(tempfile.mkdtemp(prefix=f"{name}-diff-"))
        atexit.register(self.__exit__)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *unused):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        atexit.unregister(self.__exit__)

    def start(self):
        """Starts the server on fresh ports with the data it has, and waits until it serves."""
        for _ in range(3):  # A port may be taken by somebody else between the choice and the bind.
            if self._try_start():
                return
        raise RuntimeError(f"{self.name} does not start:\n{self.log_tail()}")

    def _try_start(self):
        client_port, peer_port = _free_ports(2)
        client_url = f"http://127.0.0.1:{client_port}"
        peer_url = f"http://127.0.0.1:{peer_port}"
        command = [self._binary, "--name=m", f"--data-dir={self.folder / 'data'}",
                   f"--listen-client-urls={client_url}", f"--advertise-client-urls={client_url}",
                   f"--listen-peer-urls={peer_url}", f"--initial-advertise-peer-urls={peer_url}",
                   f"--initial-cluster=m={peer_url}"] + self._flags
        with open(self.folder / "log", "ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)
        self.port = client_port
        deadline = time.monotonic() + _START_SECONDS_MAX
        while time.monotonic() < deadline and self._process.poll() is None:
            if self._listens(client_port) and self._serves():
                self.started_at = time.monotonic()
                return True
            time.sleep(0.02)
        self.stop()
        return False

    def _serves(self):
        if not self._own_client:
            return True
        import wire  # Not at the top, see __init__.
        if self.client is None:
            self.client = wire.Client(f"127.0.0.1:{self.port}")
        answer = self.client.call("Range", wire.rpc.RangeRequest(key=b"k"))
        # Once a member asks who we are it serves, too.
        return answer.ok or "user name is empty" in answer.text

    @staticmethod
    def _listens(port):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    def alive(self):
        return self._process is not None and self._process.poll() is None

    def stop(self, by_kill=True):
        """Ends the server, by kill -9 or as asked for, and closes the connection. The data stay."""
        if self.client:
            self.client.close()
            self.client = None
        if self._process:
            if by_kill:
                self._process.kill()
            else:
                self._process.terminate()
            self._process.wait()
            self._process = None

    def log_tail(self, lines=15):
        text = (self.folder / "log").read_text(errors="replace").splitlines()
        return "\n".join(line[:400] for line in text[-lines:])
