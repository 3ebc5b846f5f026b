"""A member as a real process: start it, wait until it serves, stop it, kill it, read its log.

Every member has a fresh temporary directory and a free port of its own, both gone after stop().
"""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time

# The machine that runs the tests may be busy; nothing that is right takes this long.
PATIENCE_SECONDS = 60

_rng = random.SystemRandom()


def etcdd_binary():
    """The binary under test: CMake names it in the environment."""
    return os.environ["ETCDD_BINARY"]


def installed(name):
    """The path of a stock tool (etcd, etcdctl), or None."""
    return shutil.which(name)


def free_port():
    """A TCP port of the loopback interface that nobody listens on."""
    while True:
        port = _rng.randrange(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def deadline(seconds=PATIENCE_SECONDS):
    """A function that is true once this time is over."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


class Member:
    """One etcdd process and its data directory.

    `data_dir`: an existing directory to run on, not removed by stop(). `args`: more flags; a flag
    of the standard ones given again wins. `program`: another binary with the same flags.
    `prefix`: words before the program, such as setpriv and its arguments. `host`: the address it
    listens on and is reached at.
    """

    ready = "ready to serve client requests"

    def __init__(self, *args, data_dir=None, port=None, program=None, prefix=(),
                 host="127.0.0.1"):
        self.scratch = tempfile.mkdtemp(prefix="etcdd-e2e-")
        self.data_dir = data_dir or os.path.join(self.scratch, "data")
        self.port = port or free_port()
        self.host = host
        self.endpoint = f"{host}:{self.port}"
        # Not advertised unless the test says so: ids stay those of a member with default flags.
        self.peer_port = free_port()
        self.peer_scheme = "http"
        self.args = list(args)
        self.program = program or etcdd_binary()
        self.prefix = list(prefix)
        self.process = None
        self.log_path = os.path.join(self.scratch, "log")

    # --- processes

    def command(self):
        url = f"http://{self.endpoint}"
        return self.prefix + [self.program, "--data-dir", self.data_dir,
                              "--listen-client-urls", url, "--advertise-client-urls", url,
                              "--listen-peer-urls",
                              f"{self.peer_scheme}://{self.host}:{self.peer_port}",
                              *self.args]

    def launch(self, **popen):
        """Starts the process without waiting for anything. Its log begins anew."""
        assert self.process is None or self.process.poll() is not None, "runs already"
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, **popen)
        return self

    def start(self, **popen):
        """Starts the process and waits until it serves."""
        self.launch(**popen)
        self.wait_for_log(self.ready)
        return self

    def wait_for_log(self, message, seconds=PATIENCE_SECONDS):
        """Waits for a log line with this message and returns it; fails if the process ends."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            ended = self.process.poll() is not None
            for line in self.log():
                if line.get("msg") == message:
                    return line
            if ended:
                raise AssertionError(f"exit {self.process.returncode} before {message!r}:\n"
                                     + self.log_text())
            time.sleep(0.005)
        raise AssertionError(f"no {message!r} within {seconds} s:\n" + self.log_text())

    def kill(self):
        """SIGKILL, as a crash of the process."""
        self.process.kill()
        self.process.wait()

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, seconds=PATIENCE_SECONDS):
        """Waits for the process to end by itself; returns its exit code."""
        return self.process.wait(timeout=seconds)

    def terminate(self, seconds=PATIENCE_SECONDS):
        """SIGTERM and the exit code that follows it; 0 if the signal itself ended the process, as
        it does after an orderly stop."""
        self.signal(signal.SIGTERM)
        code = self.wait(seconds)
        return 0 if code == -signal.SIGTERM else code

    def run_to_end(self, **popen):
        """For starts that must be refused: runs until the process ends; returns its exit code."""
        return self.launch(**popen).wait()

    def stop(self):
        """Ends the process in any state and removes the scratch directory."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.kill()
        shutil.rmtree(self.scratch, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    # --- log

    def log_text(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return log.read()

    def log(self):
        """The log's JSON lines as dictionaries; lines in other forms are left out."""
        lines = []
        for text in self.log_text().splitlines():
            if text.startswith("{") and text.endswith("}"):
                try:
                    lines.append(json.loads(text))
                except ValueError:
                    pass
        return lines

    def messages(self):
        return [line["msg"] for line in self.log()]

    def errors(self):
        """Lines at level error and above."""
        return [line for line in self.log() if line["level"] not in ("debug", "info", "warn")]

    # --- data

    def wal_dir(self):
        return os.path.join(self.data_dir, "member", "wal")

    def backend_dir(self):
        return os.path.join(self.data_dir, "member", "snap", "etcdd.db")

    def wal_segments(self):
        """Paths of the WAL's segments, oldest first."""
        return [os.path.join(self.wal_dir(), name) for name in sorted(os.listdir(self.wal_dir()))
                if name.endswith(".wal")]


class StockEtcd(Member):
    """A member of the installed etcd (3.4 or later), for comparisons. Its ids equal those of an
    etcdd with default flags."""

    ready = "serving client traffic insecurely; this is strongly discouraged!"

    def __init__(self, *args, **options):
        super().__init__("--logger", "zap", *args, program=installed("etcd"), **options)


class Cluster:
    """Members that know each other: cluster.members[0] and so on, all with the flags `args`.

    `places`: for each of the first members, in turn, options of its Member (host, prefix, ...).
    """

    def __init__(self, size, *args, token="e2e", places=None, scheme="http"):
        self.token = token
        self.scheme = scheme  # of the peer URLs
        self.args = args
        self.members = []
        self.made = 0
        for i in range(size):
            self._make(**(places[i] if places else {}))
        listed = self.initial_cluster()
        for member in self.members:
            member.args += ["--initial-cluster", listed]

    def _make(self, **options):
        made = Member(**options)
        made.name = f"m{self.made}"
        self.made += 1
        made.peer_scheme = self.scheme
        made.peer_url = f"{self.scheme}://{made.host}:{made.peer_port}"
        made.args += ["--name", made.name, "--initial-advertise-peer-urls", made.peer_url,
                      "--initial-cluster-token", self.token, *self.args]
        self.members.append(made)
        return made

    def initial_cluster(self, members=None):
        return ",".join(f"{member.name}={member.peer_url}" for member in members or self.members)

    def start(self):
        for member in self.members:
            member.launch()
        for member in self.members:
            member.wait_for_log(member.ready)
        return self

    def joiner(self):
        """One more member, to be added and then started; it knows those that are there now."""
        made = self._make()
        made.args += ["--initial-cluster", self.initial_cluster(),
                      "--initial-cluster-state", "existing"]
        return made

    def forget(self, member):
        """The member was removed: it is stopped, and later joiners do not know it."""
        self.members.remove(member)
        member.stop()

    def endpoints(self):
        return ",".join(member.endpoint for member in self.members)

    def stop(self):
        for member in self.members:
            member.stop()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
