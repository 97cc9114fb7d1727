"""SSH's connection protocol (RFC 4254), the part that a file server speaks.

    CHANNEL_OPEN session       the only kind of channel, a few at a time
    CHANNEL_REQUEST subsystem  what runs on a channel is for the channel to say
    CHANNEL_DATA, EOF, CLOSE   with credit given by the channel, as bytes are consumed
    GLOBAL_REQUEST             keepalive@openssh.com in both directions; hostkeys-00@openssh.com once after the log-in,
                               and hostkeys-prove-00@openssh.com in return (OpenSSH's PROTOCOL, section 2.5); every
                               other one fails

No forwarding of anything. Knows no subsystem.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.conch.error import ConchError
from twisted.conch.ssh.connection import (
    EXTENDED_DATA_STDERR,
    MSG_CHANNEL_CLOSE,
    MSG_CHANNEL_DATA,
    MSG_CHANNEL_EOF,
    MSG_CHANNEL_EXTENDED_DATA,
    MSG_CHANNEL_FAILURE,
    MSG_CHANNEL_OPEN,
    MSG_CHANNEL_OPEN_CONFIRMATION,
    MSG_CHANNEL_OPEN_FAILURE,
    MSG_CHANNEL_REQUEST,
    MSG_CHANNEL_SUCCESS,
    MSG_CHANNEL_WINDOW_ADJUST,
    MSG_GLOBAL_REQUEST,
    MSG_REQUEST_FAILURE,
    MSG_REQUEST_SUCCESS,
    OPEN_ADMINISTRATIVELY_PROHIBITED,
    OPEN_RESOURCE_SHORTAGE,
    SSHConnection,
)
from twisted.conch.ssh.transport import DISCONNECT_CONNECTION_LOST, DISCONNECT_PROTOCOL_ERROR
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

from ._quiet import quietLogger
from .wire import Buffer, Reader, Truncated, boolean, string, uint32

if TYPE_CHECKING:
    from .channel import SessionChannel
    from .transport import SSHTransport

CHANNEL_LIMIT = 10
SMALLEST_PACKET = 512
"""A client that takes less at once would have us send little but headers."""

UNANSWERED_LIMIT = 3
"""So many keep-alives without an answer, and the client is gone."""

PROOFS_LIMIT = 3
"""How often a client may have host keys proven."""

WINDOW_LIMIT = 0xFFFFFFFF

_PROVE = b"hostkeys-prove-00@openssh.com"


class Connection(SSHConnection):
    """The ``ssh-connection`` service of one connection.

    :ivar finished: fires, once the service has stopped, when everything that ran on its channels has ended.
    """

    transport: SSHTransport
    channels: dict[int, SessionChannel]
    _log = quietLogger()

    def __init__(self, reactor: IReactorTime, keepAliveSeconds: float) -> None:
        super().__init__()
        self.finished: Deferred[Any] | None = None
        self._noMoreSessions = False
        self._endings: set[Deferred[None]] = set()
        self._unanswered = 0
        self._proofs = 0
        self._keepAliveSeconds = keepAliveSeconds
        self._keepAlive = LoopingCall(self._askWhetherAlive)
        self._keepAlive.clock = reactor

    def serviceStarted(self) -> None:
        super().serviceStarted()
        keys = b"".join(map(string, self.transport.hostKeys.blobs))
        self.transport.sendPacket(MSG_GLOBAL_REQUEST, string(b"hostkeys-00@openssh.com") + boolean(False) + keys)
        if self._keepAliveSeconds:
            _ = self._keepAlive.start(self._keepAliveSeconds, now=False).addErrback(
                lambda failure: self._log.failure("keep-alive broke", failure)
            )

    def serviceStopped(self) -> None:
        if self._keepAlive.running:
            self._keepAlive.stop()
        for channel in list(self.channels.values()):
            self.channelClosed(channel)
        self.finished = gatherResults(self._endings)

    def resumeSending(self) -> None:
        """The transport takes channel data again."""
        for channel in list(self.channels.values()):
            channel.flush()

    @property
    def busy(self) -> bool:
        """Whether the client is in the middle of something."""
        return any(channel.busy for channel in self.channels.values())

    def _askWhetherAlive(self) -> None:
        if self._unanswered >= UNANSWERED_LIMIT:
            self.transport.sendDisconnect(DISCONNECT_CONNECTION_LOST, b"no answer")
            return
        self._unanswered += 1
        self.transport.sendPacket(MSG_GLOBAL_REQUEST, string(b"keepalive@openssh.com") + boolean(True))

    # --- messages

    def packetReceived(self, messageNum: int, packet: Any) -> None:
        self._unanswered = 0
        receive = _RECEIVERS.get(messageNum)
        if receive is None:
            self.transport.sendUnimplemented()
        else:
            receive(self, Reader(packet))

    def _channel(self, message: Reader) -> SessionChannel | None:
        """The channel that a message is for; without it the connection ends."""
        channel = self.channels.get(message.uint32())
        if channel is None:
            self.transport.sendDisconnect(DISCONNECT_PROTOCOL_ERROR, b"no such channel")
        return channel

    def _globalRequest(self, message: Reader) -> None:
        request, wantsReply = message.string(), message.boolean()
        answer: bytes | None = None
        if request == b"no-more-sessions@openssh.com":
            self._noMoreSessions, answer = True, b""
        elif request == _PROVE:
            answer = self._proven(message)
        if wantsReply:
            self.transport.sendPacket(
                MSG_REQUEST_FAILURE if answer is None else MSG_REQUEST_SUCCESS, b"" if answer is None else answer
            )

    def _proven(self, message: Reader) -> bytes | None:
        """Signatures by the host keys that a client asks about; ``None`` where one is not ours, or it asks too much."""
        transport = self.transport
        self._proofs += 1
        try:
            wanted = message.strings()
        except Truncated:
            return None
        if self._proofs > PROOFS_LIMIT or len(set(wanted)) < len(wanted):
            return None
        session = transport.sessionID
        assert session is not None
        signatures = []
        for blob in wanted:
            signed = string(_PROVE) + string(session) + string(blob)
            signature = transport.hostKeys.prove(blob, signed, transport.keyAlg)
            if signature is None:
                return None
            signatures.append(string(signature))
        return b"".join(signatures)

    def _ignored(self, message: Reader) -> None:
        """Answers to keep-alives; that something came is all that counts."""

    def _open(self, message: Reader) -> None:
        kind, sender, window, longest = message.string(), message.uint32(), message.uint32(), message.uint32()
        if len(self.channels) >= CHANNEL_LIMIT or self._noMoreSessions or longest < SMALLEST_PACKET:
            self._refuse(sender, OPEN_RESOURCE_SHORTAGE, b"no more channels")
            return
        try:
            channel = self.getChannel(kind, window, longest, message.rest())
        except ConchError:
            self._refuse(sender, OPEN_ADMINISTRATIVELY_PROHIBITED, b"only file transfer is served here")
            return
        channel.id = self.localChannelID
        self.localChannelID = (self.localChannelID + 1) & WINDOW_LIMIT
        self.channels[channel.id] = channel
        self._endings.add(channel.ended)
        channel.ended.addErrback(lambda failure: self._log.failure("the end of a session broke", failure))
        channel.ended.addCallback(lambda _: self._endings.discard(channel.ended))
        self.channelsToRemoteChannel[channel] = self.localToRemoteChannel[channel.id] = sender
        answer = (sender, channel.id, channel.localWindowSize, channel.localMaxPacket)
        self.transport.sendPacket(MSG_CHANNEL_OPEN_CONFIRMATION, b"".join(map(uint32, answer)))

    def _refuse(self, sender: int, reason: int, text: bytes) -> None:
        self.transport.sendPacket(
            MSG_CHANNEL_OPEN_FAILURE, uint32(sender) + uint32(reason) + string(text) + string(b"")
        )

    def _windowAdjust(self, message: Reader) -> None:
        # Some clients send one more after their CLOSE.
        channel = self.channels.get(message.uint32())
        if channel is not None:
            channel.addWindowBytes(message.uint32())

    def _data(self, message: Reader) -> None:
        channel = self._channel(message)
        if channel is not None:
            channel.receive(message.view())

    def _extendedData(self, message: Reader) -> None:
        channel = self._channel(message)
        if channel is not None:
            message.uint32()
            channel.receive(message.view(), wanted=False)

    def _eof(self, message: Reader) -> None:
        channel = self._channel(message)
        if channel is not None:
            channel.eofReceived()

    def _close(self, message: Reader) -> None:
        channel = self._channel(message)
        if channel is not None:
            channel.remoteClosed = True
            self.sendClose(channel)
            self.channelClosed(channel)

    def _request(self, message: Reader) -> None:
        channel = self._channel(message)
        if channel is None:
            return
        request, wantsReply = message.string(), message.boolean()
        accepted = channel.requestReceived(request, message.rest())
        if wantsReply and not channel.localClosed:
            remote = self.channelsToRemoteChannel[channel]
            self.transport.sendPacket(MSG_CHANNEL_SUCCESS if accepted else MSG_CHANNEL_FAILURE, uint32(remote))

    # --- for channels

    def sendDataParts(self, channel: SessionChannel, parts: list[Buffer], size: int) -> None:
        """Send ``parts``, together ``size`` bytes, as one message; only while the transport is writable."""
        head = bytes((MSG_CHANNEL_DATA,)) + uint32(self.channelsToRemoteChannel[channel]) + uint32(size)
        self.transport.sendParts([head, *parts])

    def sendErrorText(self, channel: SessionChannel, text: bytes) -> None:
        """Send ``text`` as standard error; only while the transport is writable."""
        head = bytes((MSG_CHANNEL_EXTENDED_DATA,)) + uint32(self.channelsToRemoteChannel[channel])
        self.transport.sendParts([head, uint32(EXTENDED_DATA_STDERR), string(text)])


_RECEIVERS = {
    MSG_GLOBAL_REQUEST: Connection._globalRequest,
    MSG_REQUEST_SUCCESS: Connection._ignored,
    MSG_REQUEST_FAILURE: Connection._ignored,
    MSG_CHANNEL_OPEN: Connection._open,
    MSG_CHANNEL_WINDOW_ADJUST: Connection._windowAdjust,
    MSG_CHANNEL_DATA: Connection._data,
    MSG_CHANNEL_EXTENDED_DATA: Connection._extendedData,
    MSG_CHANNEL_EOF: Connection._eof,
    MSG_CHANNEL_CLOSE: Connection._close,
    MSG_CHANNEL_REQUEST: Connection._request,
}
