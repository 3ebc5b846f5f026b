"""Members that find each other through a registry: --discovery-token and --discovery-endpoints."""

import signal
import unittest

import api
import case
import member

REGISTRY = b"/_etcd/registry/tok/"


class DiscoveryTest(case.MemberTest):

    def registry(self, size):
        made = self.member().start()
        self.client(made).put(REGISTRY + b"_config/size", size)
        return made

    def newcomer(self, name, registry):
        made = self.member()
        made.peer_url = f"http://127.0.0.1:{made.peer_port}"
        made.args += ["--name", name, "--initial-advertise-peer-urls", made.peer_url,
                      "--discovery-token", "tok",
                      "--discovery-endpoints", f"http://{registry.endpoint}"]
        return made

    def test_three_members_make_a_cluster(self):
        registry = self.registry(b"3")
        members = [self.newcomer(f"m{i}", registry) for i in range(3)]
        for each in members[:2]:
            each.launch()
            each.wait_for_log("waiting for peers from discovery service")
        members[2].launch()
        for each in members:
            each.wait_for_log(each.ready)
        clients = [self.client(each) for each in members]
        clients[0].put(b"k", b"v")
        for client in clients:
            self.assertEqual(client.value(b"k"), b"v")
        self.assertEqual(len({client.status().header.cluster_id for client in clients}), 1)
        entries = self.client(registry).get(REGISTRY + b"members/",
                                            range_end=REGISTRY + b"members0").kvs
        self.assertEqual({kv.value for kv in entries},
                         {f"m{i}={members[i].peer_url}".encode() for i in range(3)})

        late = self.newcomer("m3", registry)
        self.assertEqual(late.run_to_end(), 1)
        self.assertIn("failed to bootstrap; discovery token was already used", late.messages())
        self.assertIn("failed to join discovery cluster (discovery: cluster is full)",
                      late.log_text())

        # A member that has been there does not ask again, nor need the registry.
        registry.kill()
        members[1].kill()
        members[1].start()
        self.assertIn("discovery token is ignored since cluster already initialized; valid logs "
                      "are found", members[1].messages())
        with api.Client(members[1].endpoint) as client:
            self.assertEqual(client.value(b"k"), b"v")

    def test_stops_while_it_waits_and_comes_back(self):
        registry = self.registry(b"2")
        first = self.newcomer("m0", registry).launch()
        first.wait_for_log("waiting for peers from discovery service")
        first.signal(signal.SIGTERM)
        self.assertEqual(first.wait(), -signal.SIGTERM)
        first.launch()
        second = self.newcomer("m1", registry).launch()
        first.wait_for_log(first.ready)
        second.wait_for_log(second.ready)

    def test_killed_while_it_waits_and_comes_back(self):
        registry = self.registry(b"2")
        first = self.newcomer("m0", registry).launch()
        first.wait_for_log("waiting for peers from discovery service")
        first.kill()
        first.launch()
        second = self.newcomer("m1", registry).launch()
        first.wait_for_log(first.ready)
        second.wait_for_log(second.ready)

    def test_a_registry_without_a_size_is_refused(self):
        registry = self.member().start()
        m = self.newcomer("m0", registry)
        self.assertEqual(m.run_to_end(), 1)
        self.assertIn("failed to join discovery cluster (discovery: size key not found)",
                      m.log_text())


if __name__ == "__main__":
    unittest.main()
