"""What tests under chaos have in common: a cluster under load, and the check of what all saw."""

import random
import sys

import case
import chaos

SLOW = "--slow" in sys.argv
# Short, so that elections cost little; long enough for a busy machine.
TICKS = ("--heartbeat-interval", "50", "--election-timeout", "500")
# Errors of clients that members log, as etcd does.
EXPECTED = {"rejecting promote learner: learner is not ready"}


class ChaosCase(case.ProcessesTest):
    def chaos(self, size, *args, seed=None, **options):
        """A cluster and its load. The seed is that of the load and of the test's own choices."""
        self.seed = random.SystemRandom().randrange(1 << 20) if seed is None else seed
        self.rng = random.Random(self.seed)
        cluster = self.started(size, *TICKS, *args, **options)
        load = chaos.Load(cluster.members, self.seed)
        self.addCleanup(load.__exit__)
        load.__enter__()
        load.progress(20)
        return cluster, load

    def renew(self, m):
        """A fresh connection: the old one may be waiting before it tries again."""
        if m in self.clients:
            self.clients[m].close()
        self.clients[m] = self.client(m, timeout_seconds=10)

    def no_error(self, m):
        self.assertEqual([line for line in m.errors() if line["msg"] not in EXPECTED], [], m.name)

    def restart(self, m):
        """Starts a member that was killed, after a look at what it had to say."""
        self.no_error(m)
        m.start()
        self.renew(m)

    def finish(self, cluster, load):
        """Ends the load and checks what all of them saw."""
        load.progress(20)
        load.stop()
        for m in cluster.members:
            self.renew(m)
        self.same_hashes(cluster.members)
        logs = []
        for m in cluster.members:
            client = self.clients[m]
            last = client.get(b"k").header.revision
            logs.append([(revision, event.kv.key, None if event.type == 1 else event.kv.value)
                         for revision, events in client.history(2, last) for event in events])
        for m, log in zip(cluster.members, logs):
            self.assertEqual(log[:len(logs[0])], logs[0], f"{m.name} has another past")
        load.wait_for_watchers(logs[0][-1][0])
        load.__exit__()
        try:
            load.check(logs[0])
        except AssertionError:
            print(f"seed {self.seed}", file=sys.stderr)
            raise
        for m in cluster.members:
            self.no_error(m)
        print(f"{self.id().rsplit('.', 1)[1]}: {len(load.ops())} operations, "
              f"{load.acknowledged()} acknowledged writes, {len(logs[0])} events", flush=True)
