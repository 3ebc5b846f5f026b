"""Running the stock etcdctl, and a script of its commands against two servers at once."""

import os
import re
import select
import signal
import subprocess

import member

_ENVIRONMENT = dict(os.environ, ETCDCTL_API="3")

# What must differ between two servers or two runs.
_MASKS = [
    (re.compile(r"127\.0\.0\.1:\d+"), "ENDPOINT"),
    (re.compile(r"\blease [0-9a-f]{16}"), "lease ID"),
    (re.compile(r"^[0-9a-f]{16}$", re.M), "ID"),
    (re.compile(r"\bMember +[0-9a-f]+ "), "Member ID "),
    # The new member stands before or behind those it joins.
    (re.compile(r"ETCD_INITIAL_CLUSTER=.*"), "ETCD_INITIAL_CLUSTER"),
    (re.compile(r'"(ID|id|lease)":\d+'), r'"\1":ID'),
    (re.compile(r'"(ID|Lease)" : [1-9]\d*'), r'"\1" : ID'),
    (re.compile(r"remaining\(\d+s\)"), "remaining(N)"),
    (re.compile(r"took[ =:]+[0-9.a-zµ]+"), "took TIME"),
    (re.compile(r'"took":"[^"]*"'), '"took":TIME'),
    (re.compile(r'"endpoint://[^"]*"'), "TARGET"),
]


class Result:
    """How a command ended: code, out, err (without the client library's log lines)."""

    def __init__(self, code, out, err):
        self.code, self.out = code, out
        self.err = "".join(line + "\n" for line in err.splitlines()
                           if not line.startswith('{"level"'))

    def masked(self):
        texts = []
        for text in (self.out, self.err):
            for pattern, replacement in _MASKS:
                text = pattern.sub(replacement, text)
            texts.append(text)
        return (self.code, *texts)

    def __repr__(self):
        return f"exit {self.code}\nstdout: {self.out!r}\nstderr: {self.err!r}"


class Etcdctl:
    """etcdctl against one endpoint."""

    def __init__(self, endpoint):
        self.endpoint = endpoint

    def _command(self, arguments):
        return [member.installed("etcdctl"), "--endpoints", self.endpoint, *arguments]

    def run(self, *arguments, stdin="", seconds=member.PATIENCE_SECONDS):
        ended = subprocess.run(self._command(arguments), input=stdin, env=_ENVIRONMENT,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
                               errors="surrogateescape", timeout=seconds, check=False)
        return Result(ended.returncode, ended.stdout, ended.stderr)

    def begin(self, *arguments):
        """Starts a command that goes on by itself, such as watch."""
        return Running(subprocess.Popen(self._command(arguments), env=_ENVIRONMENT,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE))


class Running:
    """A command that runs; its output comes line by line."""

    def __init__(self, process):
        self.process = process
        self._unread = b""

    def send(self, text):
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def lines(self, count):
        """The next lines; waits for them."""
        expired = member.deadline(30)
        while self._unread.count(b"\n") < count:
            ready, _, _ = select.select([self.process.stdout], [], [], 1)
            piece = os.read(self.process.stdout.fileno(), 65536) if ready else None
            self._unread += piece or b""
            if piece == b"" or expired():
                self.process.kill()
                err = self.process.communicate()[1].decode()
                raise AssertionError(f"{self.process.args}: {count} lines wanted, got "
                                     f"{self._unread.decode()!r} and on stderr {err!r}")
        *found, self._unread = self._unread.split(b"\n", count)
        return [line.decode() for line in found]

    def end(self):
        """Ends it as Ctrl-C does and returns the rest of its output."""
        self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=member.PATIENCE_SECONDS)
        return Result(self.process.returncode, (self._unread + out).decode(), err.decode())
