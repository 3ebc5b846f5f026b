"""The cluster of docker/compose.yaml, beside whatever else runs on the machine: a project, an
image, volumes and ports of its own, all gone after stop(). The base image and the image
`etcdd-runtime` stay, for the next time."""

import os
import pathlib
import shutil
import subprocess
import tempfile
import uuid

import member

ROOT = pathlib.Path(__file__).resolve().parents[2]
_RUNTIME_IMAGE = "etcdd-runtime"
_SIZE = 3


def run(*command, **options):
    """Runs a command to its end and returns what it prints; fails with all its words."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if done.returncode != 0:
        raise AssertionError(f"{command}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


def _works(*command):
    return shutil.which(command[0]) is not None and subprocess.run(
        command, capture_output=True, check=False).returncode == 0


def compose_command():
    """Docker Compose as this machine has it, or None."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if _works(*command, "version"):
            return command
    return None


def missing():
    """What this machine lacks to run containers, as a sentence, or None."""
    if not _works("docker", "info"):
        return "no Docker engine answers `docker info`"
    if compose_command() is None:
        return "neither `docker compose` nor docker-compose is installed"
    return None


def base_image():
    """The base image, found or made. Raises AssertionError where neither is possible."""
    return run(str(ROOT / "docker" / "base-image.sh"))


class ComposeMember:
    """One container of the cluster."""

    def __init__(self, project, number, port):
        self.container = f"{project}{number}"
        self.peer_name = f"etcdd{number}.peers"
        self.network = f"{project}_peers"
        self.endpoint = f"127.0.0.1:{port}"

    def kill(self):
        run("docker", "kill", self.container)

    def start(self):
        run("docker", "start", self.container)

    def cut_off(self):
        """No way to the other members; the published port stays."""
        run("docker", "network", "disconnect", self.network, self.container)

    def bring_back(self):
        run("docker", "network", "connect", "--alias", self.peer_name, self.network,
            self.container)

    def inspect(self, template):
        return run("docker", "inspect", "--format", template, self.container)

    def execute(self, *command):
        """Runs a command in the container; its exit code."""
        return subprocess.run(["docker", "exec", self.container, *command], capture_output=True,
                              check=False).returncode


class Compose:
    """The cluster. Requires: missing() is None."""

    def __init__(self, base):
        self.base = base
        self.project = "etcdd-test-" + uuid.uuid4().hex[:8]
        ports = [member.free_port() for _ in range(_SIZE)]
        self.members = [ComposeMember(self.project, number, port)
                        for number, port in enumerate(ports, 1)]
        self._environment = dict(os.environ, COMPOSE_PROJECT_NAME=self.project,
                                 ETCDD_IMAGE=self.project)
        for number, port in enumerate(ports, 1):
            self._environment[f"ETCDD_PORT{number}"] = str(port)

    def build(self):
        """Makes the image of the binary under test."""
        run("docker", "build", "--target", "runtime", "--build-arg", f"BASE_IMAGE={self.base}",
            "--file", "docker/Dockerfile", "--tag", _RUNTIME_IMAGE, ".", cwd=ROOT)
        with tempfile.TemporaryDirectory(prefix="etcdd-image-") as context:
            run("strip", "-o", os.path.join(context, "etcdd"), member.etcdd_binary())
            run("docker", "build", "--build-arg", f"RUNTIME_IMAGE={_RUNTIME_IMAGE}", "--file",
                str(ROOT / "docker" / "Dockerfile.binary"), "--tag", self.project, context)

    def compose(self, *arguments):
        return run(*compose_command(), "--file", str(ROOT / "docker" / "compose.yaml"), *arguments,
                   env=self._environment)

    def up(self):
        self.compose("up", "--detach", "--no-build")

    def halt(self):
        """Stops the containers in order, as SIGTERM does."""
        self.compose("stop")

    def logs(self):
        return self.compose("logs", "--no-color", "--tail", "40")

    def stop(self):
        """Removes all of it, in any state."""
        self.compose("down", "--volumes", "--timeout", "0")
        subprocess.run(["docker", "rmi", "--force", self.project], capture_output=True,
                       check=False)
