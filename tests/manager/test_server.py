"""The listener kind ``manager`` as whoever binds listeners sees it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from cftpcluster.interfaces import IPrivateServer, IServer, IServerFactory
from cftpcluster.manager import ManagerOptions, ManagerServerFactory
from cftpcluster.testing.http import Conversation

from .support import Cluster, basic


class ServerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.cluster = Cluster()
        self.server = self.cluster.server()

    def test_interfacesAreKept(self) -> None:
        verifyObject(IServer, self.server)
        verifyObject(IPrivateServer, self.server)
        factory = ManagerServerFactory(self.cluster.administration, lambda name, password, address: None)
        verifyObject(IServerFactory, factory)
        self.assertTrue(factory.needsTLS and self.server.implicitTLS)

    def test_drainingNodeIsStillAdministered(self) -> None:
        client = Conversation.with_(self.server)
        self.successResultOf(self.server.drain())
        client.send(b"GET /api/v1/status HTTP/1.1\r\nHost: a\r\nAuthorization: %s\r\n\r\n" % basic("full").encode())
        self.assertEqual([answer.status for answer in client.answers()], [200])
        self.server.resume()

    def test_disconnectEndsEveryConnection(self) -> None:
        client = Conversation.with_(self.server)
        self.server.disconnect()
        self.assertTrue(client.closed)

    def test_anyConfigurationIsTaken(self) -> None:
        self.assertIsNone(self.successResultOf(self.server.reconfigure(ManagerOptions())))
