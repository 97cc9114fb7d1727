"""Whole nodes: that they start, converge and end, and leave nothing behind."""

from __future__ import annotations

import re
from typing import Any

from argon2 import PasswordHasher
from attrs import evolve
from twisted.internet.defer import CancelledError, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import CertificateOptions
from twisted.internet.task import deferLater
from twisted.logger import capturedLogs
from twisted.protocols.tls import TLSMemoryBIOFactory

from cftpcluster.cluster.tokens import JoinTokenText
from cftpcluster.config.changes import Batch, MergeSettings, Put
from cftpcluster.config.document import Backend, Mount, User
from cftpcluster.errors import Conflict, Forbidden, HistoryGone
from cftpcluster.founding import CLUSTER_KEYS, SYSTEM
from cftpcluster.node import COMPACT_EVERY, Node
from cftpcluster.servers.listening import LAST_WORDS_SECONDS
from cftpcluster.vocabulary import Author

from .wholenodes import MOMENT_SECONDS, PORTS, Conversation, NodeCase, addresses, proposal, putUser, reactor


class StartTests(NodeCase):
    async def test_firstStartServesEverythingAndStopLeavesNothing(self) -> None:
        node = await self.started(self.make())
        self.assertEqual(await self.bound(), PORTS)
        status = node.status()
        self.assertEqual((status["role"], status["revision"], status["warnings"]), ("primary", 1, []))
        self.assertEqual([row["problems"] for row in status["nodes"]], [[]])
        readiness = node.readiness()
        self.assertEqual((readiness["reasons"], readiness["warnings"]), ([], []))
        self.assertEqual(set(readiness["listeners"].values()), {True})
        self.assertTrue((self.folder / "node-a" / "admin.sock").is_socket())
        await node.stop()
        self.assertEqual(await self.bound(), [])
        self.assertFalse((self.folder / "node-a" / "admin.sock").exists())

    async def test_laterStartsServeWhatWasSo(self) -> None:
        node = await self.founded()
        await node._appending.append(proposal(putUser("alice")))
        head = node.head
        await node.stop()
        again = await self.started(self.make(existing=True))
        self.assertEqual((again.head.revision, again.head.chainHash), (head.revision, head.chainHash))
        self.assertIn("alice", again.liveDocument().users)

    async def test_anotherRoleIsOneWarning(self) -> None:
        await (await self.founded()).stop()
        with capturedLogs() as events:
            node = await self.started(self.make(role="secondary"))
        self.assertEqual(node.status()["role"], "primary")
        self.assertEqual([event["given"] for event in events if "--role" in str(event["log_format"])], ["secondary"])

    async def test_joinTokenOfAMemberIsIgnoredWithAWarning(self) -> None:
        await (await self.founded()).stop()
        with capturedLogs() as events:
            await self.started(self.make(token="cftpjoin1-x"))
        self.assertTrue(any("the join token is ignored" in str(event["log_format"]) for event in events))

    async def test_missingStorageIsAReasonNotToBeReady(self) -> None:
        node = await self.founded()
        mountPoint = self.folder / "mount"
        mountPoint.mkdir()
        options = {"root": str(mountPoint), "requireMarker": True}
        await node._appending.append(proposal(Put("backends", Backend(name="share", kind="local", options=options))))
        await self.live(node)
        await node.condition.look()
        (reason,) = node.readiness()["reasons"]
        self.assertTrue(reason.startswith("backends/share: "), reason)
        self.assertEqual(node.status()["nodes"][0]["problems"], [reason])

    async def test_takenPortIsAProblemOfItsListener(self) -> None:
        other = reactor.listenTCP(2121, _Nothing(), interface=addresses()[0])
        self.addCleanup(other.stopListening)
        node = await self.founded()
        self.assertEqual(node.status()["nodes"][0]["problems"], ["listeners/ftp: port 2121 is in use"])
        self.assertFalse(node.readiness()["listeners"]["ftp"])


class _Nothing(Protocol):
    """A factory that builds nothing is enough to hold a port."""

    noisy = False

    def doStart(self) -> None: ...

    def doStop(self) -> None: ...

    def buildProtocol(self, address: Any) -> None: ...


class FailingStartTests(NodeCase):
    async def test_emptyFolderWhereThereShouldBeANode(self) -> None:
        self.assertIn("--existing", await self.startFails(self.make(existing=True)))

    async def test_secondaryWithoutAToken(self) -> None:
        self.assertIn("join token", await self.startFails(self.make(role="secondary")))

    async def test_tokenThatIsNone(self) -> None:
        self.assertIn("join token", await self.startFails(self.make(role="secondary", token="cftpjoin1-x")))

    async def test_damagedFiles(self) -> None:
        await (await self.founded()).stop()
        state = self.folder / "node-a"
        keys = (state / CLUSTER_KEYS).read_bytes()
        (state / CLUSTER_KEYS).write_bytes(b"[")
        self.assertIn(CLUSTER_KEYS, await self.startFails(self.make()))
        (state / CLUSTER_KEYS).unlink()
        self.assertIn("identity or keys", await self.startFails(self.make()))
        (state / CLUSTER_KEYS).write_bytes(keys)
        (state / "journal.db").write_bytes(b"no database" * 1000)
        self.assertIn("journal.db", await self.startFails(self.make()))

    async def test_addressThatIsNotOfThisMachine(self) -> None:
        await (await self.founded()).stop()
        # An address of TEST-NET-1.
        self.assertIn("192.0.2.1", await self.startFails(self.make(bind="192.0.2.1")))

    async def test_stoppedWhileItStarts(self) -> None:
        for moment in (0.0, 0.01, 0.05, 0.2):
            node = self.make()
            outcome: list[Any] = []
            _ = node.start().addBoth(outcome.append)
            await deferLater(reactor, moment)
            if not outcome:
                await node.stop()
                self.assertIsNotNone(outcome[0].check(CancelledError), outcome)
            await node.stop()
            self.assertEqual(await self.bound(), [])
            self.assertFalse((self.folder / "node-a" / "admin.sock").exists())
        self.assertEqual((await self.started(self.make())).head.epoch, 1)


class ConvergingTests(NodeCase):
    async def test_appendsAreLiveInTheirOrder(self) -> None:
        node = await self.founded()
        before = node.head.revision
        with capturedLogs() as events:
            proposals = [proposal(putUser(f"user-{number}"), f"r{number}") for number in range(30)]
            appended = [node._appending.append(each) for each in proposals]
            self.assertEqual(await gatherResults(appended), list(range(before + 1, before + 31)))
            await self.live(node)
        live = [event["revision"] for event in events if event.get("event") == "ConfigurationChanged"]
        self.assertEqual(live, sorted(set(live)))
        self.assertEqual(live[-1], before + 30)
        self.assertEqual(len(node.liveDocument().users), 30)

    async def test_requestCountsOnce(self) -> None:
        node = await self.founded()
        first, other, again = await gatherResults(
            [node._appending.append(proposal(putUser("alice"), request)) for request in ("one", "two", "one")]
        )
        self.assertEqual((again, other, node.head.revision), (first, first + 1, first + 1))

    async def test_journalIsCompactedToTheHistoryWanted(self) -> None:
        node = await self.founded()
        await node._appending.append(proposal(MergeSettings({"historyRevisions": 10})))
        await gatherResults([node._appending.append(proposal(putUser("alice"))) for _ in range(COMPACT_EVERY + 10)])
        assert node._journal is not None
        await self.fails(node._journal.since(1, 1), HistoryGone)
        self.assertEqual(len(await node._journal.since(node.head.revision - 10, 100)), 10)
        await self.live(node)

    async def test_whatIsRefusedChangesNothing(self) -> None:
        node = await self.founded()
        head = node.head
        ghost = Author("ghost", "full", "127.0.0.1")
        await self.fails(node._appending.append(proposal(putUser("alice"), author=ghost)), Forbidden)
        stale = evolve(proposal(putUser("alice")), expected={("users", "alice"): 5})
        await self.fails(node._appending.append(stale), Conflict)
        self.assertEqual(node.head, head)

    async def test_portsAreExchangedWhileItRuns(self) -> None:
        node = await self.founded()
        listeners = node.document().listeners
        moved = [("ftp", 2222), ("sftp", 2121)]
        changes = tuple(Put("listeners", evolve(listeners[name], port=port)) for name, port in moved)
        await node._appending.append(proposal(Batch(changes)))
        await self.live(node)
        self.assertTrue((await (await self.connect(2222)).ask()).startswith("220 "))
        self.assertEqual(node.status()["nodes"][0]["problems"], [])

    async def test_stoppedWhileItConverges(self) -> None:
        """A client that does not take its leave holds up the listener; the one in its place must not be started when
        everything else has ended."""
        node = await self.founded()
        factory = TLSMemoryBIOFactory(CertificateOptions(), True, Factory.forProtocol(Conversation))
        tls: Any = await TCP4ClientEndpoint(reactor, addresses()[0], 2990).connect(factory)
        self.addCleanup(lambda: tls.wrappedProtocol.lost)
        self.addCleanup(tls.abortConnection)
        await tls.wrappedProtocol.ask()
        tls.transport.pauseProducing()
        listener = node.document().listeners["ftps"]
        await node._appending.append(proposal(Put("listeners", evolve(listener, port=3990))))
        await deferLater(reactor, 0.1)
        self.assertLess(node.condition.own().live, node.head.revision)
        await node.stop()
        await deferLater(reactor, LAST_WORDS_SECONDS)
        self.assertEqual(await self.bound([*PORTS, 3990]), [])


class DrainTests(NodeCase):
    async def test_withoutSessionsItIsDoneAtOnce(self) -> None:
        node = await self.founded()
        idle = await self.connect(2121)
        await idle.ask()
        await node._appending.append(proposal(MergeSettings({"drainGraceSeconds": 0})))
        await node.drain()
        await idle.lost
        self.assertIn(b"421 ", idle.received)
        self.assertEqual(node.readiness()["reasons"], ["draining"])
        self.assertEqual(node.status()["nodes"][0]["state"], "draining")
        self.assertEqual(await self.bound(), PORTS)

    async def uploading(self, node: Node) -> Conversation:
        """A client in the middle of an upload."""
        ftp = evolve(node.document().listeners["ftp"], options={"tls": "off"})
        hashed = PasswordHasher(1, 8 * 1024, 1).hash("secret")
        alice = User(name="alice", passwordHash=hashed, mounts=(Mount(path="/", backend="files", folder="alice"),))
        quickly = MergeSettings({"drainSeconds": 3, "drainGraceSeconds": 0})
        changes = (Put("listeners", ftp), Put("users", alice), quickly)
        await node._appending.append(proposal(Batch(changes)))
        await self.live(node)
        control = await self.connect(2121)
        await control.ask()
        await control.ask("USER alice")
        self.assertTrue((await control.ask("PASS secret")).startswith("230"), control.received)
        passive = re.search(r"\|(\d+)\|\)", await control.ask("EPSV"))
        assert passive is not None
        self.data = await self.connect(int(passive[1]))
        self.assertTrue((await control.ask("STOR file")).startswith("150"), control.received)
        self.data.transport.write(b"half")  # type: ignore[union-attr]
        return control

    async def test_transfersFinish(self) -> None:
        node = await self.founded()
        control = await self.uploading(node)
        draining = node.drain()
        await deferLater(reactor, 0.1)
        self.assertNoResult(draining)
        control.received = b""
        self.data.transport.loseConnection()  # type: ignore[union-attr]
        self.assertTrue((await control.ask()).startswith("226"), control.received)
        await draining
        (uploaded,) = (self.folder / "node-a" / "files" / "alice").iterdir()
        self.assertEqual(uploaded.read_bytes(), b"half")

    async def test_deadlineEndsWhatIsLeft(self) -> None:
        node = await self.founded()
        control = await self.uploading(node)
        with capturedLogs() as events:
            await node.drain()
        self.assertTrue(any("still under way" in str(event.get("log_format")) for event in events))
        await control.lost
        self.assertTrue(node.draining.isActive)


class JoiningTests(NodeCase):
    async def test_nodeThatIsNotPrimarySendsWhoeverJoinsOn(self) -> None:
        a = await self.founded()
        b = await self.joined(a, 1)
        # The token leads to the secondary, as one does that was made before another node was promoted.
        c = await self.joined(a, 2, host=addresses()[1])
        self.assertEqual(set(a.document().nodes), {"node-a", "node-b", "node-c"})
        revision = await b.administration.propose(putUser("alice"), {}, SYSTEM)
        waited = await c.administration.wait(revision, True, 20)
        self.assertEqual(waited, {"live": ["node-a", "node-b", "node-c"], "pending": []})
        self.assertIn("alice", c.liveDocument().users)
        rows = {row["name"]: row["state"] for row in a.status()["nodes"]}
        self.assertEqual(rows, {"node-a": "primary", "node-b": "following", "node-c": "following"})

    async def joined(self, primary: Node, number: int, host: str = "") -> Node:
        text, put = primary.administration.makeToken(f"node-{'abc'[number]}", 600)
        await primary._appending.append(proposal(put))
        token = evolve(JoinTokenText.parse(text), host=host or addresses()[0]).render()
        node = await self.started(self.make(number, "secondary", token=token))
        while node.peering.follower.state != "following" or node.condition.own().live != primary.head.revision:
            await deferLater(reactor, MOMENT_SECONDS)
        return node
