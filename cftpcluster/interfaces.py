"""The interfaces that the parts of cftpcluster meet at: the map of the system, read first.

Every method returns a :class:`~twisted.internet.defer.Deferred` unless it says otherwise, and may be called from the
reactor thread only. Errors are those of :mod:`cftpcluster.errors`; values those of :mod:`cftpcluster.vocabulary` and
:mod:`cftpcluster.config.document`. Abilities that not every implementation has are interfaces of their own, asked for
by adaptation: ``ILinks(fileSystem, None)``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from twisted.cred.credentials import ICredentials
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocolFactory
from twisted.plugin import IPlugin
from zope.interface import Attribute, Interface

from .config.document import Backend, Document, Listener, Settings
from .events import Event, Notify
from .vocabulary import (
    Attributes,
    Author,
    Entry,
    Held,
    OpenMode,
    Origin,
    Problem,
    Row,
    Space,
    Stat,
    Usage,
    VirtualPath,
)

if TYPE_CHECKING:
    from twisted.cred.portal import Portal
    from twisted.python.threadpool import ThreadPool


# --- files: one interface from wire to disk


class IListing(Interface):
    """A folder being read, batch by batch, so that no answer grows with the folder."""

    def next() -> Deferred[Sequence[Entry]]:
        """The next entries, at most some hundreds, in no order; an empty sequence at the end. Never ``.`` or ``..``."""

    def close() -> None:
        """Let go of the folder; idempotent, and implied by the end."""


class ISelective(Interface):
    """A folder being read that spares itself what nobody wants to know."""

    def only(wanted: Callable[[str, bool | None], bool]) -> None:
        """From now on names for which ``wanted`` says no may be left out. It is asked in another thread, with the name
        and whether that is a folder, ``None`` where it takes a look to know. Not a Deferred."""


class IFileSystem(Interface):
    """A tree of files and folders: every backend, every wrapper of one, and what an account holds.

    Paths are virtual paths (tuples of names). Every operation fails with ``NotFound``, ``NotAFolder``, ``PathEscapes``,
    ``PermissionDenied``, ``InvalidName``, ``StorageMissing`` or ``StorageFailed`` where it applies. An implementation
    belongs to one session: files that the session is uploading are seen by it, in every operation, under their own
    names, and by nobody else.
    """

    def stat(path: VirtualPath, follow: bool = True) -> Deferred[Stat]:
        """What ``path`` is. With ``follow=False`` a link itself is described. The kept partial of a broken upload
        answers for its owner where no committed file is."""

    def list(path: VirtualPath) -> Deferred[IListing]:
        """Start to read a folder. Links are described as what they lead to, or as ``link`` when they lead nowhere
        or outside. Partials are never listed."""

    def open(path: VirtualPath, mode: OpenMode) -> Deferred[IFile]:
        """Open a file; see :class:`~cftpcluster.vocabulary.OpenMode`. ``Busy`` where another session writes the same
        partial; ``IsAFolder``; ``PermissionDenied`` for devices, sockets and FIFOs."""

    def makeDirectory(path: VirtualPath) -> Deferred[None]:
        """Make one folder; its parent must exist."""

    def remove(path: VirtualPath) -> Deferred[None]:
        """Remove a file or a link (never what it leads to), or discard an upload in progress or a kept partial."""

    def removeDirectory(path: VirtualPath) -> Deferred[None]:
        """Remove an empty folder; ``FolderNotEmpty`` otherwise. Kept partials do not hold a folder."""

    def rename(old: VirtualPath, new: VirtualPath, overwrite: bool) -> Deferred[None]:
        """Rename or move. Where ``new`` exists: ``AlreadyExists`` without ``overwrite``, else it is replaced at once.
        Also for an upload in progress, which then commits under its new name. ``CrossesMounts`` between backends."""

    def setAttributes(path: VirtualPath, attributes: Attributes) -> Deferred[None]:
        """Set those attributes that are not ``None``; a ``size`` truncates or extends."""


class IFile(Interface):
    """An opened file. Operations may overlap; the caller orders those that depend on each other.

    After ``commit`` or ``abort`` every operation fails with ``Closed``. A file opened with ``create``, ``replace`` or
    ``resume`` is seen by others only after ``commit``.
    """

    def stat() -> Deferred[Stat]:
        """Of the opened file, with what was written so far."""

    def read(offset: int, length: int) -> Deferred[bytes]:
        """At most ``length`` bytes from ``offset``; fewer only at the end of the file, ``b""`` beyond it."""

    def write(offset: int, data: bytes | memoryview) -> Deferred[None]:
        """Write all of ``data``; ``OutOfSpace`` where it does not fit. ``data`` must not change until it fires."""

    def truncate(size: int) -> Deferred[None]:
        """Set the length."""

    def setAttributes(attributes: Attributes) -> Deferred[None]:
        """As :meth:`IFileSystem.setAttributes`, of the opened file."""

    def sync() -> Deferred[None]:
        """All that was written is on disk when it fires."""

    def commit() -> Deferred[None]:
        """Close; an upload takes its place, whole and at once, durably unless the backend says ``fsync: false``."""

    def abort(keep: bool) -> Deferred[bool]:
        """Close without committing. With ``keep`` what was written of a new file stays as this owner's partial;
        a broken replacement keeps none. Files opened with ``read`` or ``inPlace`` are simply closed. Fires with whether
        a partial was kept."""


class ISessionFiles(Interface):
    """A file system that can end its session. A wrapper of one passes this on."""

    def close() -> Deferred[None]:
        """The session is over: files still open are aborted, the partials of uploads kept; later operations fail with
        ``Closed``. Idempotent; never fails because of a single file."""


class IHasDescriptor(Interface):
    """A file whose bytes the kernel can send (``os.sendfile``)."""

    def descriptor() -> int:
        """The open descriptor, valid until ``commit`` or ``abort``; not a Deferred."""

    def sent(byteCount: int) -> None:
        """Tell that the kernel sent so many more bytes, which no :meth:`IFile.read` saw; not a Deferred."""


class IOpened(Interface):
    """An opened file that may know what it was when it was opened, which costs nothing to ask."""

    opened: Stat | None = Attribute("what :meth:`IFile.stat` would have told then; ``None`` where that is not known")


class IContents(Interface):
    """An opened file whose bytes can be looked at where they are: nobody is sent them, and they count nowhere."""

    def feed(take: Callable[[bytes], object], offset: int, length: int) -> Deferred[int]:
        """Hand ``take``, which is called in another thread, the bytes from ``offset`` on, perhaps in pieces; fires with
        how many there were, fewer than ``length`` only at the end of the file. Fails as :meth:`IFile.read`."""


class IHashed(Interface):
    """An opened file that tells checksums of itself; asked through :func:`cftpcluster.files.checksums.checksums`."""

    def checksums(
        algorithm: str, offset: int, length: int | None, blockBytes: int, isAwaited: Callable[[], bool]
    ) -> Deferred[Sequence[bytes]]:
        """As that function."""


class ITakesCopies(Interface):
    """An opened file that takes bytes over from another without their being read by this process."""

    def copyFrom(source: IHasDescriptor, sourceOffset: int, offset: int, length: int) -> Deferred[int]:
        """Write at ``offset`` what ``source`` holds at ``sourceOffset``; fires with how many bytes, at most ``length``,
        0 only at the end. Fails as :meth:`IFile.write`; ``source`` is told nothing."""


class ILinks(Interface):
    """A file system with links; they never lead beyond their mount."""

    def readLink(path: VirtualPath) -> Deferred[str]:
        """Where a symbolic link leads, as a path a client of this tree understands; never a path of the disk."""

    def makeSymbolicLink(path: VirtualPath, target: str) -> Deferred[None]:
        """Make ``path`` lead to ``target`` (a virtual path, absolute or relative to the link's folder)."""

    def makeHardLink(path: VirtualPath, existing: VirtualPath) -> Deferred[None]:
        """Make ``path`` another name of the file ``existing``."""

    def setLinkAttributes(path: VirtualPath, attributes: Attributes) -> Deferred[None]:
        """Set the times of a symbolic link itself; ``Unsupported`` for what links do not have, and for no link."""


class ISpaceReport(Interface):
    """A file system that knows how much room it has."""

    def space(path: VirtualPath) -> Deferred[Space]:
        """Room for this user where ``path`` lies."""


class IUsageReport(Interface):
    """A file system that can tell how much it holds, whoever put it there."""

    def usage(path: VirtualPath) -> Deferred[Usage]:
        """Everything at and beneath ``path``, uploads and partials of all owners among it; a file with several names
        counts once, folders and links do not. Takes its time, and leaves the storage to others now and then."""

    def held(path: VirtualPath, follow: bool) -> Deferred[Held]:
        """What lies under one name, leaving aside what the session sees there because it is uploading it. With
        ``follow`` under the name that a link leads to."""


class ISizedUpload(Interface):
    """An opened file that can refuse early."""

    def expect(size: int) -> None:
        """Tell how long it is to become; raises ``OutOfSpace`` where that would not fit now. Not a Deferred."""


class IPaced(Interface):
    """An opened file whose reads and writes may be made to wait, so that its user keeps to a speed."""

    def pieceBytes(isDownload: bool) -> int:
        """How much to move at once, so that it waits no longer than a moment; not a Deferred."""

    def hurry() -> None:
        """Nobody waits for its bytes any more: let through at once what does, and what comes. Not a Deferred."""


class IServerSideCopy(Interface):
    """A file system that copies without the bytes passing through a client."""

    def copy(old: VirtualPath, new: VirtualPath, overwrite: bool) -> Deferred[None]:
        """Copy one file; seen whole or not at all."""


class IBackend(Interface):
    """One storage of the document, running on a node."""

    def fileSystem(folder: str, owner: str, atomicUploads: bool) -> IFileSystem:
        """A view of ``folder`` (made when missing) for one session of user ``owner``; not a Deferred."""

    def problems() -> Deferred[Sequence[str]]:
        """What keeps this storage from being used, such as a missing marker; empty when all is well. Checked anew."""

    def close() -> Deferred[None]:
        """Let go of everything; sessions that still use it get ``StorageMissing``."""


# --- log-in


class ILogin(ICredentials):
    """What a client offers to prove who it is. Checkers answer with the user's name, as cred's avatar id."""

    name: str = Attribute("the user's name, exactly as it was sent, decoded as UTF-8 with surrogateescape")
    origin: Origin = Attribute("where from")


class IPasswordLogin(ILogin):
    """A password, over FTP, SFTP or HTTPS.

    ``before`` is what was proven on this connection before, empty at first; ``None`` where nothing more can be asked of
    the client. It comes from the portal and is of no interest to checkers.
    """

    password: bytes = Attribute("the password, exactly as it was sent")
    interactive: bool = Attribute("whether it was asked for by SSH's keyboard-interactive method")
    before: Any = Attribute("a cftpcluster.auth.steps.Proof, or None")


class ICertificateLogin(ILogin):
    """A TLS client certificate. The server has verified in the handshake that it is signed by one of its authorities; a
    checker says only whether whoever it is for may log in as this user."""

    names: Sequence[str] = Attribute("whom it is for: common names, DNS names, mail addresses")
    before: Any = Attribute("as of a password")


class IPublicKeyLogin(ILogin):
    """An SSH public key. The transport verifies the signature itself; a checker says only whether this key, by its
    wire form (RFC 4253, section 6.6), may log in as this user. ``signed`` is false for a mere question."""

    blob: bytes = Attribute("the public key's wire form")
    signed: bool = Attribute("whether possession was proven")
    before: Any = Attribute("as of a password")


class ISessionLogin(ILogin):
    """A session that this cluster's own signature vouches for (a web cookie)."""

    credentialsRevision: int = Attribute("the revision the log-in was made at")


class IAccount(Interface):
    """Who is logged in, and what they reach: the avatar that the other avatars are made from."""

    name: str = Attribute("the user's name in the document")
    origin: Origin = Attribute("where the log-in came from")
    files: IFileSystem = Attribute("the user's tree; permissions, limits and events are applied within")
    revision: int = Attribute("revision of the document it was made from")

    def whenEnded() -> Deferred[str]:
        """Fires, with a reason that the client may be told, when the cluster ends the session before its time: kicked,
        disabled, expired, rights withdrawn. Nothing can be done by the account any more; its server says why, and ends
        the connection. Never fires where the session ends otherwise."""

    def logout() -> Deferred[None]:
        """The session is over: uploads in progress are aborted, their partials kept."""


# --- journal


class IJournal(Interface):
    """The ordered, hash-chained changes of one cluster, folded into the document.

    Values are those of :mod:`cftpcluster.journal.entry`. Entries and document are consistent at every moment, also
    after a crash; an append is durable when its Deferred fires.
    """

    def append(proposal: Any) -> Deferred[Any]:
        """Append a :class:`~cftpcluster.journal.entry.Proposal`; fires with a ``Head``, the document folded. A proposal
        whose ``requestId`` is in the journal already is not appended again: fires with the head, its entry's revision
        told by :meth:`find`. Fails with ``Conflict``, ``Invalid`` (all problems), ``JournalReadOnly``, ``DiskFull``."""

    def extend(entries: Sequence[Any]) -> Deferred[Any]:
        """Append entries made elsewhere, byte by byte as they came, all or none; fires with the ``Head``. Fails with
        ``ChainMismatch`` where they do not follow on the head."""

    def since(revision: int, limit: int) -> Deferred[Sequence[Any]]:
        """At most ``limit`` entries after ``revision``, oldest first (fewer where they are large: at least one, at most
        about a MiB); ``HistoryGone`` when compacted away."""

    def find(requestId: str) -> Deferred[Any]:
        """The entry that a request made, or ``None``."""

    def head() -> Deferred[Any]:
        """The newest ``Head``: epoch, revision, chainHash, document."""

    def snapshot() -> Deferred[Any]:
        """The document and chain position at the head as a ``Snapshot``: bytes with a SHA-256."""

    def at(revision: int) -> Deferred[Any]:
        """The ``Head`` as it was at ``revision``; ``HistoryGone`` where entries before it were compacted away."""

    def parts(revision: int) -> Deferred[tuple[Any, Sequence[Any]]]:
        """What :meth:`at` is made of: a ``Snapshot``, and the entries after it up to ``revision``. Making it of them
        can take seconds, in which the journal should do other things. Fails as :meth:`at`."""

    def restore(snapshot: Any) -> Deferred[Any]:
        """Replace everything by a snapshot, in one transaction; fires with the ``Head``."""

    def compact(keep: int) -> Deferred[None]:
        """Forget entries older than the newest ``keep``, after storing a snapshot that stands for them."""

    def close() -> Deferred[None]:
        """Finish what was accepted, then let go of the file."""


# --- cluster


class IFollower(Interface):
    """A node that follows, as its publisher sees it."""

    def deliver(entries: Sequence[Any]) -> Deferred[tuple[int, bytes]]:
        """Append these entries; fires with (revision, chain hash) once they are durable there. The answer is the
        back-pressure: one batch is in flight for each follower."""

    def position(epoch: int, revision: int, chainHash: bytes) -> Deferred[None]:
        """Tell where the publisher's head is; a follower that sees a gap asks to follow anew."""

    def perform(action: str, arguments: Mapping[str, Any]) -> Deferred[Mapping[str, Any]]:
        """Do something on that node (``drain``, ``resync``...); plain values both ways."""

    def clusterStatus(status: Mapping[str, Any]) -> Deferred[None]:
        """The cluster as its primary sees it, plain values, so that a follower can show every node."""


class IPublisher(Interface):
    """The primary, as its followers see it; the avatar that a node's certificate gets."""

    def follow(follower: IFollower, epoch: int, revision: int, chainHash: bytes) -> Deferred[Any]:
        """Register a cursor at once; entries after it are then delivered, read from the journal. Fires with a
        ``FollowAnswer``: following, or an offer of a snapshot to pull first. ``NotPrimary``, ``Refused``."""

    def snapshotChunk(snapshotId: str, offset: int) -> Deferred[bytes]:
        """At most 256 KiB of an offered snapshot."""

    def where(revision: int, chainHash: bytes) -> Deferred[Any]:
        """Where its head is, as a ``FollowAnswer``, nobody following for it: with an offer of a snapshot where that
        place is not on its history, or before all that it keeps. Without a chain hash it always offers one."""

    def entries(revision: int, limit: int) -> Deferred[Sequence[Any]]:
        """Entries after ``revision``, as :meth:`IJournal.since`."""

    def propose(proposal: Any) -> Deferred[int]:
        """Append a proposal that came in on a follower; fires with its revision. As :meth:`IJournal.append`."""

    def report(status: Mapping[str, Any]) -> Deferred[None]:
        """What a follower says of itself: state, revision live, problems, version."""

    def relay(node: str, action: str, arguments: Mapping[str, Any], author: Author) -> Deferred[Mapping[str, Any]]:
        """Have the primary perform something on another node; see :meth:`IFollower.perform`. ``Forbidden``."""

    def renewCertificate(request: bytes) -> Deferred[bytes]:
        """A new certificate (PEM) for the node that asks, for its certificate signing request (PEM). ``Refused``."""


class ISharedRows(Interface):
    """Rows that every node may write and all nodes know, without a primary: each has one writing node, a version and an
    expiry, so that nodes agree whatever the order in which they hear of it. None of the methods returns a Deferred.

    A table is declared when the rows are built: whether its rows outlive a restart, and how many a node may write.
    """

    def put(table: str, key: str, value: Mapping[str, Any], seconds: float) -> None:
        """Write this node's row of that key, anew if there is one, for so many seconds from now; sent to the other
        nodes at once. A table that is full lets go of the row that expires first; one that must not forget raises
        ``ClusterError``. A row is small: beyond 4 KiB of JSON it is a ``ValueError``."""

    def remove(table: str, key: str) -> None:
        """Withdraw this node's row of that key, on all nodes. Nothing happens where there is none."""

    def get(table: str, key: str) -> Sequence[Row]:
        """The rows of that key, one for each node that wrote one."""

    def rows(table: str) -> Sequence[Row]:
        """Every row of a table, of all nodes, none that has expired."""

    def watch(table: str, changed: Callable[[Row | None, Row | None], None]) -> Callable[[], None]:
        """Call ``changed(before, after)`` for each row of a table that comes (before is ``None``), changes, or goes
        (after is ``None``; by expiry too), whoever wrote it; answers with what ends that."""


class IAdministration(Interface):
    """What the administration (REST, socket, console) may ask of the node it runs on."""

    def document() -> Document:
        """The document that is live here; not a Deferred."""

    def propose(
        change: Any, expected: Mapping[tuple[str, str], int], author: Author, requestId: str = ""
    ) -> Deferred[int]:
        """Have a change appended: here on the primary, else over the link. Fires with its revision.
        ``Conflict``, ``Invalid``, ``Forbidden``, ``PrimaryUnreachable``, ``OutcomeUnknown``, ``NotDurableEnough``."""

    def status() -> Mapping[str, Any]:
        """The cluster as ``cftpctl status --json`` shows it; not a Deferred."""

    def wait(revision: int, allNodes: bool, seconds: float) -> Deferred[Mapping[str, Sequence[str]]]:
        """Fires when every connected node (``allNodes``: every node) has converged on ``revision``, or the time is up,
        with ``{"live": [names], "pending": [names]}``."""

    def perform(node: str, action: str, arguments: Mapping[str, Any], author: Author) -> Deferred[Mapping[str, Any]]:
        """Do something on a node; see :meth:`IFollower.perform`."""


# --- running components


class IReconfigurable(Interface):
    """Something that runs and takes a new configuration without being started anew."""

    def reconfigure(config: Any) -> Deferred[None]:
        """Take ``config``, of the class it was built with, for all that comes; what is under way goes on."""


class IServer(IProtocolFactory, IReconfigurable):
    """Serves the connections of one listener; whoever binds the port hands them over."""

    implicitTLS: bool = Attribute("whether every connection starts with a TLS handshake, done before this server")

    def drain() -> Deferred[None]:
        """Take no new work: refuse politely in the protocol's own words, let transfers finish; fires when the last
        session is gone, or with :meth:`resume`."""

    def resume() -> None:
        """Take new work again after :meth:`drain`; nothing happens otherwise. Not a Deferred."""

    def disconnect() -> None:
        """End what is left, at once; not a Deferred."""


class IPrivateServer(IServer):
    """A server that only loopback and private networks reach, unless its listener's ``allow`` says otherwise."""


class IObserver(Interface):
    """Is told what happens on this node."""

    def observe(event: Event) -> None:
        """Called in the reactor thread, must not block or raise; not a Deferred."""


class IComponentFactory(IPlugin):
    """Builds components of one kind. Factories are twistd plug-ins; built-in ones are found the same way."""

    kind: str = Attribute("the word that documents use, such as ``local``")
    summary: str = Attribute("one line for help and documentation")
    configClass: type = Attribute("the attrs class of the kind's ``options``; its attributes are documented in it")


class IBackendFactory(IComponentFactory):
    def build(
        config: Any,
        *,
        backend: Backend,
        node: str,
        stateDirectory: str,
        reactor: Any,
        pool: ThreadPool,
        settings: Callable[[], Settings],
    ) -> IBackend:
        """A running backend. ``pool`` is where blocking calls belong."""


class ICheckerFactory(IComponentFactory):
    def build(
        config: Any,
        *,
        reactor: Any,
        pool: ThreadPool,
        document: Callable[[], Document],
        upgrade: Callable[[str, str, str], None],
    ) -> Any:
        """An :class:`~twisted.cred.checkers.ICredentialsChecker` for :class:`ILogin` credentials: answers with the
        user's name, or fails with :class:`~twisted.cred.error.UnauthorizedLogin`.

        :param pool: for hashing, nothing else; its number of threads bounds how much runs at once.
        :param upgrade: called with a user's name, the hash it has in ``document()`` now, and a better one of the same
            password.
        """


class IObserverFactory(IComponentFactory):
    def build(config: Any, *, node: str, reactor: Any) -> IObserver:
        """A running observer."""


class IServerFactory(IComponentFactory):
    needsTLS: bool = Attribute("whether the kind uses its listener's certificate")

    def build(
        config: Any,
        *,
        listener: Listener,
        reactor: Any,
        portal: Portal,
        tls: Any,
        hostKeys: Callable[[], Sequence[bytes]],
        sessionKeys: Callable[[], Sequence[bytes]],
        settings: Callable[[], Settings],
        notify: Notify,
        bindAddress: str,
        pool: ThreadPool,
    ) -> IServer:
        """A server for one listener.

        :param portal: logs in :class:`ILogin` credentials, the ``mind`` being their :class:`Origin`. Whoever gets an
            account ends the connection when its :meth:`IAccount.whenEnded` fires.
        :param tls: an :class:`~twisted.internet.interfaces.IOpenSSLServerConnectionCreator`, or ``None``.
        :param hostKeys: the SSH host keys now, private, in PEM, the oldest first.
        :param sessionKeys: keys now to sign sessions with, 32 bytes each, the newest first; made for this kind alone.
        :param bindAddress: where a data listener binds; "" for all addresses.
        :param pool: for blocking work that is neither files nor hashing.
        """


class ISiteCommand(IPlugin):
    """What clients say over FTP after SITE. Every plug-in of this kind is offered by every listener."""

    verb: str = Attribute("the word after SITE, in capitals; none of the built-in ones")
    usage: str = Attribute("its argument for SITE HELP, such as ``<path>``")

    def run(account: IAccount, folder: VirtualPath, argument: str) -> Deferred[str]:
        """Do it; fires with a line that the client is told with code 200. What fails with a ``FileSystemError`` is
        refused as the same of any command.

        :param folder: the client's current folder, for :func:`cftpcluster.files.paths.parse`.
        :param argument: what follows the verb, as it came.
        """


class IValidator(Interface):
    """A ``configClass`` whose instances can check what types cannot; provided by the instances."""

    def problems() -> Sequence[Problem]:
        """Everything wrong, paths relative to the options; not a Deferred."""
