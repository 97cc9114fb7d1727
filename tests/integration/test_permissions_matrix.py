"""What a mount permits is the same on every protocol and by every verb: one table of operations, verbs and permissions.

Whatever stands in :data:`OPERATIONS` is tried over FTP, SFTP and HTTPS with every set of :data:`SETS`; what is refused
must have left no trace on the disk. Verbs that stand in no table are refused to the user who may do everything.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from attrs import field, frozen
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.testing.processes import NodeProcess
from cftpcluster.vocabulary import Permission

from ..sharedclusters import ALONE
from . import talkers
from .clients import Client, needs
from .talkers import (
    APPENDING,
    CREATING,
    EXCLUSIVE,
    FOR_WRITING,
    TALKERS,
    TRUNCATING,
    FTPTalker,
    HTTPSTalker,
    SFTPTalker,
    Talker,
    Verdict,
    attributes,
    string,
    uint32,
)

P = Permission
EVERYTHING = frozenset(P)

OLD, OTHER, FRESH = b"what was there", b"another file", b"what is new"
WHEN = 981173106  # 2001-02-03 04:05:06 UTC
WHEN_TEXT = "20010203040506"

Verb = Callable[[Any, str], Verdict]
Place = Mapping[str, tuple[Any, ...]]


def sets() -> Sequence[frozenset[Permission]]:
    """No permission, each alone, all, all but one, and what is usual together."""
    together = [
        {P.list, P.upload},
        {P.list, P.download},
        {P.list, P.rename},
        {P.list, P.attributes},
        {P.download, P.upload},
        {P.upload, P.overwrite},
        {P.upload, P.delete},
        {P.rename, P.overwrite},
        {P.download, P.upload, P.overwrite},
    ]
    chosen = [frozenset(), *({each} for each in P), EVERYTHING, *(EVERYTHING - {each} for each in P), *together]
    return [frozenset(each) for each in chosen]


SETS = sets()


@frozen
class Operation:
    """
    :ivar needed: the smallest sets of permissions with which it is done.
    :ivar verbs: all that a protocol has for it, by protocol.
    :ivar effect: whether it took place, told from the verdict and from what lies on the disk.
    """

    name: str
    needed: Sequence[set[Permission]]
    effect: Callable[[Verdict, Place], bool]
    verbs: Mapping[str, Mapping[str, Verb]] = field(factory=dict)

    def isAllowed(self, permissions: frozenset[Permission]) -> bool:
        return any(each <= permissions for each in self.needed)


# --- what took place


def told(text: bytes) -> Callable[[Verdict, Place], bool]:
    return lambda verdict, place: text in verdict.data


def toldAll(verdict: Verdict, place: Place) -> bool:
    return all(name in verdict.data for name in (b"old", b"other", b"folder"))


def toldSomething(verdict: Verdict, place: Place) -> bool:
    return True


def holds(name: str, data: bytes) -> Callable[[Verdict, Place], bool]:
    return lambda verdict, place: place.get(name, (None, None))[1] == data


def isGone(name: str) -> Callable[[Verdict, Place], bool]:
    return lambda verdict, place: name not in place


def moved(old: str, new: str) -> Callable[[Verdict, Place], bool]:
    return lambda verdict, place: old not in place and place.get(new, (None, None))[1] == OLD


def copied(name: str) -> Callable[[Verdict, Place], bool]:
    return lambda verdict, place: place["old"][1] == OLD and place.get(name, (None, None))[1] == OLD


def isFolder(verdict: Verdict, place: Place) -> bool:
    return place.get("new", (None,))[0] == "folder"


def hasMode(name: str, mode: int) -> Callable[[Verdict, Place], bool]:
    return lambda verdict, place: place[name][2] == mode


def hasTime(name: str) -> Callable[[Verdict, Place], bool]:
    return lambda verdict, place: place[name][3] == WHEN


def linked(verdict: Verdict, place: Place) -> bool:
    return place.get("new", (None,))[0] == "link"


def both(*effects: Callable[[Verdict, Place], bool]) -> Callable[[Verdict, Place], bool]:
    return lambda verdict, place: all(effect(verdict, place) for effect in effects)


# --- the verbs


def ftpSay(*commands: str) -> Verb:
    """Commands, each with ``{}`` for the folder."""
    return lambda ftp, folder: ftp.say(*(command.format(folder) for command in commands))


def ftpFetch(command: str, rest: int | None = None) -> Verb:
    return lambda ftp, folder: ftp.fetch(command.format(folder), rest)


def ftpSend(command: str, data: bytes = FRESH, rest: int | None = None) -> Verb:
    return lambda ftp, folder: ftp.send(command.format(folder), data, rest)


def ftpSendThen(command: str, *more: str) -> Verb:
    def perform(ftp: FTPTalker, folder: str) -> Verdict:
        sent = ftp.send(command.format(folder), FRESH)
        return ftp.say(*(each.format(folder) for each in more)) if sent.isDone else sent

    return perform


def sftpAsk(verb: str, *names: str, more: bytes = b"") -> Verb:
    number = getattr(talkers, verb)
    return lambda sftp, folder: sftp.ask(number, b"".join(string(f"{folder}/{name}") for name in names) + more)


def sftpExtended(name: str, *names: str, more: bytes = b"") -> Verb:
    return lambda sftp, folder: sftp.extended(name, b"".join(string(f"{folder}/{each}") for each in names) + more)


def sftpSend(name: str, flags: int, offset: int = 0) -> Verb:
    return lambda sftp, folder: sftp.send(f"{folder}/{name}", FRESH, flags | FOR_WRITING, offset)


def sftpSendThen(name: str, change: bytes) -> Verb:
    def perform(sftp: SFTPTalker, folder: str) -> Verdict:
        sent = sftp.send(f"{folder}/{name}", FRESH, FOR_WRITING | CREATING | EXCLUSIVE)
        return sftp.ask(talkers.SETSTAT, string(f"{folder}/{name}") + change) if sent.isDone else sent

    return perform


def sftpOpened(flags: int, change: bytes, isByHandle: bool) -> Verb:
    """Open a new file, change attributes while it is open, close."""

    def perform(sftp: SFTPTalker, folder: str) -> Verdict:
        opened = sftp.ask(talkers.OPEN, string(f"{folder}/new") + uint32(flags) + attributes())
        if not opened.isDone:
            return opened
        sftp.ask(talkers.WRITE, opened.data + bytes(8) + string(FRESH))
        if isByHandle:
            changed = sftp.ask(talkers.FSETSTAT, opened.data + change)
        else:
            changed = sftp.ask(talkers.SETSTAT, string(f"{folder}/new") + change)
        closed = sftp.ask(talkers.CLOSE, opened.data)
        return changed if not changed.isDone else closed

    return perform


def sftpList(sftp: SFTPTalker, folder: str) -> Verdict:
    return sftp.names(folder)


def sftpFetch(sftp: SFTPTalker, folder: str) -> Verdict:
    return sftp.fetch(f"{folder}/old")


def httpAsk(method: str, name: str, body: Any = None, **headers: str) -> Verb:
    sent = {key.replace("_", "-"): value for key, value in headers.items()}
    return lambda https, folder: https.ask(method, f"{folder}{name}", body, sent)


def httpTo(op: str, new: str, overwrite: bool = False) -> Verb:
    return lambda https, folder: https.ask(
        "POST", f"{folder}/old?op={op}", {"to": f"{folder}/{new}", "overwrite": overwrite}
    )


OPERATIONS: Sequence[Operation] = (
    Operation(
        "tell of a file",
        [{P.list}],
        toldSomething,
        {
            "ftp": {
                "SIZE": ftpSay("SIZE {}/old"),
                "MDTM": ftpSay("MDTM {}/old"),
                "MLST": ftpSay("MLST {}/old"),
                "STAT": ftpSay("STAT {}/old"),
                "LIST": ftpFetch("LIST {}/old"),
                "NLST": ftpFetch("NLST {}/old"),
            },
            "sftp": {"STAT": sftpAsk("STAT", "old"), "LSTAT": sftpAsk("LSTAT", "old")},
            "https": {"HEAD": httpAsk("HEAD", "/old")},
        },
    ),
    Operation(
        "list a folder",
        [{P.list}],
        toldAll,
        {
            "ftp": {
                "MLSD": ftpFetch("MLSD {}"),
                "LIST": ftpFetch("LIST {}"),
                "LIST -a": ftpFetch("LIST -a {}"),
                "NLST": ftpFetch("NLST {}"),
                "NLST by pattern": ftpFetch("NLST {}/*"),
                "STAT": ftpSay("STAT {}"),
            },
            "sftp": {"READDIR": sftpList},
            "https": {"GET": httpAsk("GET", ""), "GET with a slash": httpAsk("GET", "/")},
        },
    ),
    Operation(
        "read a file",
        [{P.download}],
        told(OLD[5:]),
        {
            "ftp": {"RETR": ftpFetch("RETR {}/old"), "REST and RETR": ftpFetch("RETR {}/old", 5)},
            "sftp": {"READ": sftpFetch},
            "https": {"GET": httpAsk("GET", "/old"), "GET of a part": httpAsk("GET", "/old", Range="bytes=5-")},
        },
    ),
    Operation(
        "tell a checksum",
        [{P.download}],
        toldSomething,
        {
            "ftp": {
                **{verb: ftpSay(f"{verb} {{}}/old") for verb in ("HASH", "XCRC", "XMD5", "XSHA", "XSHA1", "XSHA512")},
                "XSHA256 of a part": ftpSay('XSHA256 "{}/old" 1 2'),
                "XMD5 of a part": ftpSay("XMD5 {}/old 3"),
            },
            "sftp": {
                "md5-hash": sftpExtended("md5-hash", "old", more=bytes(16) + string("")),
                "check-file-name": sftpExtended("check-file-name", "old", more=string("sha256") + bytes(20)),
            },
        },
    ),
    Operation(
        "make a file",
        [{P.upload}],
        holds("new", FRESH),
        {
            "ftp": {"STOR": ftpSend("STOR {}/new"), "APPE": ftpSend("APPE {}/new")},
            "sftp": {
                "creating": sftpSend("new", CREATING),
                "truncating": sftpSend("new", CREATING | TRUNCATING),
                "exclusive": sftpSend("new", CREATING | EXCLUSIVE),
                "appending": sftpSend("new", CREATING | APPENDING),
            },
            "https": {
                "PUT": httpAsk("PUT", "/new", FRESH),
                "PUT of what is new": httpAsk("PUT", "/new", FRESH, If_None_Match="*"),
            },
        },
    ),
    Operation(
        "make a file of a name that is free",
        [{P.upload}],
        lambda verdict, place: FRESH in [entry[1] for name, entry in place.items() if name.startswith("new.")],
        {"ftp": {"STOU": ftpSend("STOU {}/new")}},
    ),
    Operation(
        "replace a file",
        [{P.upload, P.overwrite}],
        holds("old", FRESH),
        {
            "ftp": {"STOR": ftpSend("STOR {}/old")},
            "sftp": {"truncating": sftpSend("old", CREATING | TRUNCATING)},
            "https": {"PUT": httpAsk("PUT", "/old", FRESH)},
        },
    ),
    Operation(
        "append to a file",
        [{P.upload, P.overwrite}],
        holds("old", OLD + FRESH),
        {
            "ftp": {"APPE": ftpSend("APPE {}/old"), "REST and STOR": ftpSend("STOR {}/old", rest=len(OLD))},
            "sftp": {
                "appending": sftpSend("old", APPENDING),
                "creating": sftpSend("old", APPENDING | CREATING),
                "behind its end": sftpSend("old", 0, len(OLD)),
            },
        },
    ),
    Operation(
        "write into a file",
        [{P.upload, P.overwrite}],
        holds("old", OLD[:2] + FRESH + OLD[2 + len(FRESH) :]),
        {
            "ftp": {"REST and STOR": ftpSend("STOR {}/old", rest=2)},
            "sftp": {"WRITE": sftpSend("old", 0, 2), "creating": sftpSend("old", CREATING, 2)},
        },
    ),
    Operation(
        "cut a file",
        [{P.upload, P.overwrite}],
        holds("old", OLD[:4]),
        {"sftp": {"SETSTAT": sftpAsk("SETSTAT", "old", more=attributes(size=4))}},
    ),
    Operation(
        "remove a file",
        [{P.delete}],
        isGone("old"),
        {
            "ftp": {"DELE": ftpSay("DELE {}/old")},
            "sftp": {"REMOVE": sftpAsk("REMOVE", "old")},
            "https": {"DELETE": httpAsk("DELETE", "/old")},
        },
    ),
    Operation(
        "remove a folder",
        [{P.delete}],
        isGone("folder"),
        {
            "ftp": {"RMD": ftpSay("RMD {}/folder"), "XRMD": ftpSay("XRMD {}/folder")},
            "sftp": {"RMDIR": sftpAsk("RMDIR", "folder")},
            "https": {"DELETE": httpAsk("DELETE", "/folder"), "with a slash": httpAsk("DELETE", "/folder/")},
        },
    ),
    Operation(
        "make a folder",
        [{P.mkdir}],
        isFolder,
        {
            "ftp": {"MKD": ftpSay("MKD {}/new"), "XMKD": ftpSay("XMKD {}/new")},
            "sftp": {"MKDIR": sftpAsk("MKDIR", "new", more=attributes(mode=0o777))},
            "https": {"mkdir": httpAsk("POST", "/new?op=mkdir")},
        },
    ),
    Operation(
        "rename",
        [{P.rename}],
        moved("old", "new"),
        {
            "ftp": {"RNTO": ftpSay("RNFR {}/old", "RNTO {}/new")},
            "sftp": {
                "RENAME": sftpAsk("RENAME", "old", "new"),
                "posix-rename": sftpExtended("posix-rename@openssh.com", "old", "new"),
            },
            "https": {"move": httpTo("move", "new"), "move onto": httpTo("move", "new", overwrite=True)},
        },
    ),
    Operation(
        "rename into a folder",
        [{P.rename}],
        both(isGone("old"), holds("folder/new", OLD)),
        {
            "ftp": {"RNTO": ftpSay("RNFR {}/old", "RNTO {}/folder/new")},
            "sftp": {"RENAME": sftpAsk("RENAME", "old", "folder/new")},
            "https": {"move": httpTo("move", "folder/new")},
        },
    ),
    Operation(
        "rename onto a file",
        [{P.rename, P.overwrite}],
        moved("old", "other"),
        {
            "ftp": {"RNTO": ftpSay("RNFR {}/old", "RNTO {}/other")},
            "sftp": {"posix-rename": sftpExtended("posix-rename@openssh.com", "old", "other")},
            "https": {"move": httpTo("move", "other", overwrite=True)},
        },
    ),
    Operation(
        "copy",
        [{P.download, P.upload}],
        copied("new"),
        {
            "sftp": {"copy-file": sftpExtended("copy-file", "old", "new", more=b"\0")},
            "https": {"copy": httpTo("copy", "new")},
        },
    ),
    Operation(
        "copy onto a file",
        [{P.download, P.upload, P.overwrite}],
        copied("other"),
        {
            "sftp": {"copy-file": sftpExtended("copy-file", "old", "other", more=b"\1")},
            "https": {"copy": httpTo("copy", "other", overwrite=True)},
        },
    ),
    Operation(
        "set times",
        [{P.attributes}],
        hasTime("old"),
        {
            "ftp": {
                "MFMT": ftpSay(f"MFMT {WHEN_TEXT} {{}}/old"),
                "MFF": ftpSay(f"MFF modify={WHEN_TEXT}; {{}}/old"),
                "UTIME": ftpSay(f"SITE UTIME {WHEN_TEXT} {{}}/old"),
            },
            "sftp": {"SETSTAT": sftpAsk("SETSTAT", "old", more=attributes(modified=WHEN))},
        },
    ),
    Operation(
        "set a mode",
        [{P.attributes}],
        hasMode("old", 0o604),
        {
            "ftp": {"CHMOD": ftpSay("SITE CHMOD 604 {}/old"), "MFF": ftpSay("MFF UNIX.mode=0604; {}/old")},
            "sftp": {"SETSTAT": sftpAsk("SETSTAT", "old", more=attributes(mode=0o604))},
        },
    ),
    Operation(
        # Whether it is a link has to be looked at.
        "set a mode, but of no link",
        [{P.attributes, P.list}],
        hasMode("old", 0o604),
        {"sftp": {"lsetstat": sftpExtended("lsetstat@openssh.com", "old", more=attributes(mode=0o604))}},
    ),
    Operation(
        "set times of what was uploaded just now",
        [{P.upload}],
        both(hasTime("new"), holds("new", FRESH)),
        {
            "ftp": {"MFMT": ftpSendThen("STOR {}/new", f"MFMT {WHEN_TEXT} {{}}/new")},
            "sftp": {
                "SETSTAT": sftpSendThen("new", attributes(modified=WHEN)),
                "FSETSTAT while open": sftpOpened(
                    FOR_WRITING | CREATING | TRUNCATING, attributes(modified=WHEN), isByHandle=True
                ),
                "SETSTAT while open": sftpOpened(
                    FOR_WRITING | CREATING | TRUNCATING, attributes(modified=WHEN), isByHandle=False
                ),
            },
        },
    ),
    Operation(
        "set the mode of what was uploaded just now",
        [{P.upload}],
        hasMode("new", 0o604),
        {
            "ftp": {"CHMOD": ftpSendThen("STOR {}/new", "SITE CHMOD 604 {}/new")},
            "sftp": {"SETSTAT": sftpSendThen("new", attributes(mode=0o604))},
        },
    ),
    Operation("read a link", [{P.list}], told(b"old"), {"sftp": {"READLINK": sftpAsk("READLINK", "link")}}),
    Operation(
        "make a symbolic link",
        [{P.links}],
        linked,
        # OpenSSH's order: what it leads to comes first
        {
            "ftp": {"SYMLINK": ftpSay("SITE SYMLINK old {}/new")},
            "sftp": {
                "SYMLINK": lambda sftp, folder: sftp.ask(talkers.SYMLINK, string("old") + string(f"{folder}/new"))
            },
        },
    ),
    Operation(
        "make a hard link",
        [{P.links}],
        copied("new"),
        {"sftp": {"hardlink": sftpExtended("hardlink@openssh.com", "old", "new")}},
    ),
)


UNKNOWN_TO_FTP = """\
SITE EXEC id;SITE CPFR /place/old;SITE CPTO /place/new;SITE COPY /place/old /place/new
SITE LINK /place/old /place/new
SITE MKDIR /place/new;SITE RMDIR /place/folder;SITE CHOWN 0 /place/old;SITE UMASK 0
SITE CHGRP 0 /place/old;SITE CHMOD 4755 /place/old;SITE PSWD a b;SMNT /place;LPRT 4,4,127,0,0,1,2,4,0;LPSV
MIC x;CONF x;ENC x;LANG de;ESTA;ESTP
COMB /place/new /place/old;RMDA /place/folder;XRMDA /place/folder;DSIZ /place;MFF mode=777; /place/old
THMB JPG;OPTS HASH SHA-3;OPTS UTF8 OFF;TYPE E;MODE Z;STRU R;EXEC id;XSEN a;GET /place/old HTTP/1.1;DELE;RNTO;MKD
QUOTE DELE /place/old; DELE /place/old;DELE\t/place/old;""".replace("\n", ";").split(";")

UNKNOWN_TO_SFTP = [
    "text-seek",
    "vendor-id",
    "filename-charset",
    "users-groups-by-id@openssh.com",
    "exec@x",
]

UNKNOWN_TO_HTTPS = [
    "OPTIONS",
    "TRACE",
    "PATCH",
    "PROPFIND",
    "PROPPATCH",
    "MKCOL",
    "COPY",
    "MOVE",
    "LOCK",
    "UNLOCK",
    "LINK",
    "SEARCH",
    "REPORT",
    "BREW",
    "get",
    "Delete",
]


def prepare(place: Path) -> None:
    """What every operation finds."""
    place.mkdir(parents=True)
    for name, data in (("old", OLD), ("other", OTHER)):
        (place / name).write_bytes(data)
        (place / name).chmod(0o640)
    (place / "folder").mkdir()
    (place / "link").symlink_to("old")


def contents(place: Path) -> Place:
    """Everything below a folder, hidden names too: kind, data, mode, time of the last change."""
    found: dict[str, tuple[Any, ...]] = {}
    for path in sorted(place.rglob("*")):
        name = str(path.relative_to(place))
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            found[name] = ("link",)
        elif stat.S_ISDIR(status.st_mode):
            found[name] = ("folder",)
        else:
            found[name] = ("file", path.read_bytes(), stat.S_IMODE(status.st_mode), status.st_mtime)
    return found


def describe(permissions: frozenset[Permission]) -> str:
    return ",".join(sorted(each.value for each in permissions)) or "nothing"


@needs("ssh", "ssh-keygen")
class PermissionTests(SynchronousTestCase):
    """A user for each set of permissions, each with a folder of its own."""

    node: NodeProcess

    def setUp(self) -> None:
        cluster = ALONE.get()
        self.node, self.folder = cluster.primary, cluster.folder

    def addUsers(self, chosen: Sequence[frozenset[Permission]]) -> Sequence[Client]:
        names = [f"permitted-{len(chosen)}-{number}" for number in range(len(chosen))]
        clients = [Client(name, "right horse", self.folder) for name in names]
        users = []
        for client, permissions in zip(clients, chosen, strict=True):
            mount = {"path": "/", "backend": "files", "folder": client.name}
            users.append(client.document(mounts=[{**mount, "permissions": sorted(each.value for each in permissions)}]))
        self.node.apply({"users": users})
        return clients

    def folderOf(self, client: Client) -> Path:
        return self.node.state / "files" / client.name

    # --- the table

    def test_everyVerbOfEveryProtocolGivesTheVerdictOfTheTable(self) -> None:
        self.clients = self.addUsers(SETS)
        with ThreadPoolExecutor(len(TALKERS)) as pool:
            failures = [failure for found in pool.map(self.tryAll, TALKERS) for failure in found]
        self.assertEqual(failures, [], "\n" + "\n".join(failures))

    def tryAll(self, talkerClass: type[Talker]) -> Sequence[str]:
        failures = []
        for client, permissions in zip(self.clients, SETS, strict=True):
            with talkerClass(self.node, client) as talker:
                for number, operation in enumerate(OPERATIONS):
                    for verb, perform in operation.verbs.get(talker.name, {}).items():
                        where = f"{talker.name}-{number}-{verb.replace(' ', '-').replace('*', 'x')}"
                        prepare(self.folderOf(client) / where)
                        problem = self.attempt(operation, perform, talker, self.folderOf(client) / where, permissions)
                        if problem:
                            failures.append(f"{operation.name} by {verb} with {describe(permissions)}: {problem}")
        return failures

    def attempt(
        self, operation: Operation, perform: Verb, talker: Any, place: Path, permissions: frozenset[Permission]
    ) -> str:
        """What is wrong with the verdict, if anything."""
        before = contents(place)
        verdict = perform(talker, f"/{place.name}")
        after = contents(place)
        if operation.isAllowed(permissions):
            if not verdict.isDone:
                return f"refused, {verdict.answer}: {verdict.text}"
            return "" if operation.effect(verdict, after) else f"no effect: {verdict} {after}"
        if verdict.isDone:
            return "allowed"
        if after != before:
            return f"refused, but left {set(after.items()) ^ set(before.items())}"
        return "" if verdict.answer == "denied" else f"refused as {verdict.answer}: {verdict.text}"

    # --- what stands in no table

    def test_unknownVerbsAreRefusedAndDoNothing(self) -> None:
        (client,) = self.addUsers([EVERYTHING])
        place = self.folderOf(client) / "place"
        prepare(place)
        before = contents(place)
        for refused in (self.refusedByFTP, self.refusedBySFTP, self.refusedByHTTPS):
            self.assertEqual(list(refused(client)), [])
            self.assertEqual(contents(place), before, refused.__name__)

    def refusedByFTP(self, client: Client) -> Iterator[str]:
        with FTPTalker(self.node, client) as ftp:
            for line in UNKNOWN_TO_FTP:
                verdict = ftp.say(line)
                if verdict.answer != "unknown":
                    yield f"{line}: {verdict}"

    def refusedBySFTP(self, client: Client) -> Iterator[str]:
        known = range(talkers.INIT, talkers.SYMLINK + 1)
        bodies = (b"", string("/place/old"), string("/place/old") + string("/place/new") + bytes(64))
        with SFTPTalker(self.node, client) as sftp:
            for verb in {*range(256)} - {*known, talkers.EXTENDED}:
                for body in bodies:
                    verdict = sftp.ask(verb, body)
                    if verdict.answer != "unknown":
                        yield f"{verb} {body!r}: {verdict}"
            for name in UNKNOWN_TO_SFTP:
                verdict = sftp.extended(name, string("/place/old") + string("/place/new"))
                if verdict.answer != "unknown":
                    yield f"{name}: {verdict}"
            for verb in {*known} - {talkers.INIT, talkers.VERSION}:
                verdict = sftp.ask(verb)
                if verdict.answer != "malformed":
                    yield f"{verb} with nothing: {verdict}"

    def refusedByHTTPS(self, client: Client) -> Iterator[str]:
        with HTTPSTalker(self.node, client) as https:
            for method in UNKNOWN_TO_HTTPS:
                verdict = https.ask(method, "/place/old", headers={"Destination": "/place/new"})
                if verdict.answer != "unknown":
                    yield f"{method}: {verdict}"
            for op in ("chmod", "rename", "delete", "MOVE", "link", "", "move&op=copy"):
                verdict = https.ask("POST", f"/place/old?op={op}", {"to": "/place/new"})
                if verdict.isDone:
                    yield f"op={op}: {verdict}"
            for more in ("?delete=1", "?op=move", "?overwrite=true", "?method=DELETE", "?_method=DELETE"):
                for method in ("GET", "PUT", "DELETE"):
                    verdict = https.ask(method, f"/place/old{more}", b"x" if method == "PUT" else None)
                    if verdict.isDone:
                        yield f"{method} {more}: {verdict}"
            verdict = https.ask("GET", "/place/old", headers={"X-HTTP-Method-Override": "DELETE"})
            if verdict.data != OLD:
                yield f"an overridden method: {verdict}"
