"""What the tests of this folder have in common."""

import unittest

import grpc

import api
import member


class MemberTest(unittest.TestCase):
    """A test with members that are gone when it ends."""

    def member(self, *args, **options):
        made = member.Member(*args, **options)
        self.addCleanup(made.stop)
        return made

    def client(self, of, **options):
        made = api.Client(of.endpoint, **options)
        self.addCleanup(made.close)
        return made

    def assert_code(self, code, text, call, *args, **fields):
        """The call fails with this gRPC code and a message that contains the text."""
        with self.assertRaises(grpc.RpcError) as caught:
            call(*args, **fields)
        self.assertEqual(caught.exception.code(), code, caught.exception)
        self.assertIn(text, caught.exception.details())
