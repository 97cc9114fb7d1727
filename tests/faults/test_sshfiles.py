"""What users of SFTP do to the files, the memory and the patience of a real node."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import random
import shutil
import socket
import stat
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.integration.talkers import namesOf
from tests.servers.ssh import scripted
from tests.servers.ssh.scripted import asking, opening, sending, string, uint32, uint64

from .attackers import (
    BAD_MESSAGE,
    CLOSE,
    DATA,
    HANDLE,
    NAME,
    OK,
    OPEN,
    OPENDIR,
    READ,
    READDIR,
    REALPATH,
    SFTP,
    STAT,
    STATUS,
    UNSUPPORTED,
    WRITE,
    Attacker,
    Bystander,
    SSHCase,
    codeOf,
)
from .clusters import USER, residentBytes
from .scale import choose, figure

SECRET = b"root:x:0:0:nobody-may-see-this"
EXTENDED = 200
NOTHING = uint32(0)


class FilesCase(SSHCase):
    """Alice has a folder; beside it lies what is not hers."""

    def setUp(self) -> None:
        super().setUp()
        self.place = self.node.state / "files" / USER
        self.place.mkdir(parents=True, exist_ok=True)
        self.addCleanup(self.empty)

    def empty(self) -> None:
        for each in self.place.iterdir():
            shutil.rmtree(each) if each.is_dir() and not each.is_symlink() else each.unlink()

    def assertUndisturbed(self, seconds: Sequence[float], resting: float, limit: float) -> None:
        """``limit`` is for a machine that does nothing else: what the bystander took at rest is added, and beside other
        tests much more is let pass."""
        ordered, limit = sorted(seconds), choose(5 * limit, limit)
        self.assertLess(statistics.median(ordered), limit + resting)
        self.assertLess(ordered[len(ordered) * 9 // 10], 4 * (limit + resting))


# --- paths


def traversals() -> list[bytes]:
    """Names that lead out, for somebody."""
    targets = [b"secret", b"alice-evil/secret", b"bob/hers", b"../journal.db", b"../../../../../../etc/passwd"]
    ups = [b"../", b"..//", b"/../", b"./../", b"x/../../", b"folder/../../", b"..\\", b"..%2f", b"..%252f", b"..;/"]
    ups += [b".../", b"....//", b"%2e%2e/", b"\xc0\xae\xc0\xae/", "．．/".encode(), b"..\0/", b"~/../", b"/./.././../"]
    ups += [b"/folder/link/../../", b"link/../../", b"\\..\\", b"C:\\", b"//127.0.0.1/", b"file:///", b"out/", b"/out/"]
    names = [up * times + target for up in ups for times in (1, 3) for target in targets]
    return [*names, b"/proc/self/environ", b"/dev/stdin", b"out", b"outfile", b"/out/../out/secret", b"\0", b".."]


def fingerprint(folder: Path, without: Path) -> str:
    """All that lies in a folder but what changes by itself, and when it was changed."""
    lines = []
    for path in sorted(folder.rglob("*")):
        if path.is_relative_to(without):
            continue
        about = path.lstat()
        data = path.read_bytes() if stat.S_ISREG(about.st_mode) else b""
        lines.append(f"{path} {about.st_mode:o} {about.st_mtime_ns} {hashlib.sha256(data).hexdigest()}")
    return "\n".join(lines)


class OutsideCase(FilesCase):
    """There are links out of Alice's folder, and something to be found there."""

    def setUp(self) -> None:
        super().setUp()
        self.outside = self.place.parent
        for name in ("secret", "alice-evil/secret", "bob/hers"):
            (self.outside / name).parent.mkdir(exist_ok=True)
            (self.outside / name).write_bytes(SECRET)
        (self.place / "folder").mkdir(exist_ok=True)
        for name, target in (("out", ".."), ("outfile", "../secret"), ("folder/link", "../../alice-evil")):
            if not (self.place / name).is_symlink():
                (self.place / name).symlink_to(target)
        (self.place / "mine").write_bytes(b"mine")

    def restoreMine(self) -> None:
        """Have Alice's own file, whatever was made of it."""
        if not (self.place / "mine").is_file():
            (self.place / "mine").unlink(missing_ok=True)
            (self.place / "mine").write_bytes(b"mine")


class TraversalTests(OutsideCase):
    def test_nothingOutsideIsSeenOrChanged(self) -> None:
        before = fingerprint(self.outside, self.place)
        attempts = 0
        with SFTP(self.node) as sftp:
            for name in traversals()[:: choose(3, 1)]:
                path, mine, fields = string(name), string(b"mine"), uint32(4) + uint32(0o777)
                requests = [
                    *((OPEN, path + uint32(flags) + NOTHING) for flags in (1, 2, 6, 26, 42)),
                    *((kind, path) for kind in (7, OPENDIR, 13, 15, REALPATH, STAT, 19)),
                    (9, path + fields),
                    (14, path + NOTHING),
                    (18, mine + path),
                    (18, path + string(b"taken")),
                    (20, path + string(b"newlink")),
                    (20, mine + path),
                    *((EXTENDED, string(verb) + path + mine) for verb in TWO_NAMES),
                    *((EXTENDED, string(verb) + mine + path) for verb in TWO_NAMES),
                    (EXTENDED, string(b"lsetstat@openssh.com") + path + fields),
                    *((EXTENDED, string(verb) + path + uint64(0)) for verb in ONE_NAME),
                    (EXTENDED, string(b"check-file-name") + path + string(b"md5") + uint64(0) * 2 + NOTHING),
                    (EXTENDED, string(b"md5-hash") + path + uint64(0) * 2 + string(b"")),
                ]
                attempts += len(requests)
                handles = []
                for (kind, body), answer in zip(requests, sftp.askAll(requests), strict=True):
                    self.assertNotIn(b"nobody-may-see-this", answer, (kind, body))
                    if answer[0] == HANDLE:
                        handles.append(answer[1:])
                for handle in handles:
                    for read in sftp.askAll([(READ, handle + uint64(0) + uint32(1000)), (READDIR, handle)]):
                        self.assertNotIn(b"nobody-may-see-this", read, name)
                        self.assertFalse(read[0] == NAME and {b"alice-evil", b"hers"} & set(namesOf(read[1:])), name)
                    sftp.ask(WRITE, handle, uint64(0), string(b"overwritten"))
                    sftp.ask(CLOSE, handle)
                self.restoreMine()
        self.assertEqual(fingerprint(self.outside, self.place), before)
        figure(f"{attempts} attempts to leave a folder over SFTP: none got out")

    def test_neitherByCommands(self) -> None:
        before = fingerprint(self.outside, self.place)
        names = [name for name in traversals() if b"\0" not in name]
        said = b""
        for some in itertools.batched(names, 100) if hasattr(itertools, "batched") else [names]:
            with Attacker(self.node) as attacker:
                attacker.logIn()
                for number, name in enumerate(some[:: choose(4, 1)]):
                    for command in (b"scp -f ", b"scp -r -t ", b"md5sum ", b"df -k "):
                        said += run(
                            attacker, command + b"'" + name + b"'", b"C0644 5 secret\nowned\0E\n" * (number % 2)
                        )
        self.assertNotIn(b"nobody-may-see-this", said)
        self.assertNotIn(hashlib.md5(SECRET).hexdigest().encode(), said)
        self.assertEqual(fingerprint(self.outside, self.place), before)

    def test_linksThatAreSwappedLeadNowhere(self) -> None:
        """Somebody swaps a folder of hers and a link out, as fast as can be, while she works in it."""
        (self.place / "swapped").mkdir(exist_ok=True)
        (self.place / "swapped" / "secret").write_bytes(b"fine")
        before = fingerprint(self.outside, self.place)
        stop = threading.Event()
        swaps = [0]

        def swap() -> None:
            here, folder, link = (self.place / name for name in ("swapped", "aside", "leading"))
            link.symlink_to("../alice-evil")
            while not stop.is_set():
                here.rename(folder)
                link.rename(here)
                time.sleep(0.0003)
                here.rename(link)
                folder.rename(here)
                swaps[0] += 1
                time.sleep(0.0003)  # the client is a thread of the same process

        swapping = threading.Thread(target=swap)
        swapping.start()
        done, read = 0, 0
        try:
            with SFTP(self.node) as sftp:
                while done < choose(800, 10_000):
                    path = string(b"/swapped/secret")
                    requests = [
                        (OPEN, path + uint32(1) + NOTHING),
                        (STAT, path),
                        (9, path + uint32(4) + uint32(0o600)),
                        (OPEN, string(b"/swapped/new") + uint32(26) + NOTHING),
                        (18, string(b"/swapped/new") + string(b"/swapped/newer")),
                        (13, string(b"/swapped/newer")),
                        (14, string(b"/swapped/made") + NOTHING),
                        (15, string(b"/swapped/made")),
                    ]
                    answers = sftp.askAll(requests)
                    done += len(answers)
                    for answer in (answers[0], answers[3]):
                        if answer[0] == HANDLE:
                            data = sftp.ask(READ, answer[1:], uint64(0), uint32(100))
                            self.assertNotIn(b"nobody", data)
                            read += data[0] == DATA
                            sftp.ask(CLOSE, answer[1:])
        finally:
            stop.set()
            swapping.join()
        self.assertEqual(fingerprint(self.outside, self.place), before)
        self.assertGreater(read, 0)
        figure(f"{done} operations while a link was swapped {swaps[0]} times: none got out")


TWO_NAMES = (b"posix-rename@openssh.com", b"hardlink@openssh.com")
ONE_NAME = (b"statvfs@openssh.com", b"expand-path@openssh.com", b"space-available", b"home-directory")


def run(attacker: Attacker, command: bytes, said: bytes = b"") -> bytes:
    """All that a command says."""
    attacker.send(opening())
    channel = int.from_bytes(attacker.answer(scripted.OPEN_CONFIRMATION)[5:9], "big")
    attacker.send(asking(channel, b"exec", string(command)), sending(channel, said))
    attacker.send(bytes((scripted.CHANNEL_EOF,)) + uint32(channel))
    kinds = (scripted.CHANNEL_DATA, scripted.EXTENDED_DATA, scripted.CHANNEL_FAILURE, scripted.CHANNEL_CLOSE)
    told = b""
    while (message := attacker.answer(*kinds))[0] in kinds[:2]:
        told += message[9:]
    attacker.send(bytes((scripted.CHANNEL_CLOSE,)) + uint32(channel))
    if message[0] == scripted.CHANNEL_FAILURE:
        attacker.answer(scripted.CHANNEL_CLOSE)
    return told


# --- names and kinds of files


class StrangeFileTests(FilesCase):
    def test_whatIsNoFileIsRefusedAndHoldsNobodyUp(self) -> None:
        os.mkfifo(self.place / "pipe")
        with socket.socket(socket.AF_UNIX) as listening:
            # Paths of sockets are short.
            short = Path("/tmp") / f"s{os.getpid()}"
            listening.bind(str(short))
            shutil.move(short, self.place / "socket")
        names = [b"/pipe", b"/socket"]
        with contextlib.suppress(PermissionError):
            os.mknod(self.place / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
            os.mknod(self.place / "zero", stat.S_IFCHR | 0o666, os.makedev(1, 5))
            names += [b"/null", b"/zero"]
        with Bystander(self.node, "bob") as bystander:
            resting = bystander.rest(0.5)

            def work() -> None:
                with SFTP(self.node) as sftp:
                    for name, flags in itertools.product(names, (1, 2, 3, 6, 10, 26, 42)):
                        answer = sftp.ask(OPEN, string(name), uint32(flags), NOTHING)
                        self.assertNotIn(answer[0], (HANDLE,), (name, flags))
                    for name in names:
                        sftp.ask(STAT, string(name))
                        sftp.ask(9, string(name), uint32(4), uint32(0o600))
                        self.assertNotEqual(codeOf(sftp.ask(9, string(name), uint32(1), uint64(5))), OK)
                        sftp.ask(18, string(name), string(name + b"2"))

            self.assertUndisturbed(bystander.during(work), resting, 0.1)
        self.assertFalse((self.place / "null2").is_file())

    def test_namesComeBackAsTheyWereOrAreRefused(self) -> None:
        names = [b"new\nline", b"re\rturn", b"\x1b[31mred", b"\xff\xfe", "\u202etxt.exe".encode(), "a\u200bb".encode()]
        names += [b"n" * 255, b"n" * 256, b"-rf", b"*", b"a\\b", b"two  blanks ", b"\x7f", b"%s%n${x}{{7*7}}", b"CON"]
        names += ["\u00e9".encode(), "e\u0301".encode(), b"\xed\xa0\x80", b"'; id; '", b'"', b"<b>", b"\tx"]
        kept = []
        with SFTP(self.node) as sftp:
            for name in names:
                answer = sftp.ask(OPEN, string(b"/" + name), uint32(26), NOTHING)
                if answer[0] == HANDLE:
                    self.assertEqual(codeOf(sftp.ask(CLOSE, answer[1:])), OK)
                    kept.append(name)
            self.assertEqual(set(sftp.list()) - {b".", b".."}, set(kept))
            self.assertEqual(set(os.listdir(os.fsencode(self.place))), set(kept))
            for name in kept:
                path = string(b"/" + name)
                self.assertEqual(sftp.ask(STAT, path)[0], 105, name)
                self.assertEqual(namesOf(sftp.ask(REALPATH, path)[1:]), [b"/" + name])
                self.assertEqual(codeOf(sftp.ask(13, path)), OK, name)
        self.assertIn("e\u0301".encode(), kept)
        lines = self.node.log[self.logged :].split("\n")
        self.assertEqual([line for line in lines if line and not line[:4].isdigit()], [])
        self.assertNotIn("\x1b", self.node.log[self.logged :])


# --- requests


def malformed(handle: bytes) -> Iterator[tuple[int, bytes, set[int]]]:
    """Requests, and with which codes they may be refused."""
    path, bad = string(b"/f"), {BAD_MESSAGE}
    for kind in (*range(3, 21), EXTENDED):
        yield kind, b"", bad
        yield kind, b"\0\0", bad
        yield kind, uint32(0xFFFFFFFF) + b"x", bad
        yield kind, uint32(0x80000000), bad
    for kind in (0, 2, 21, 99, 101, 105, 199, 201, 255):
        yield kind, path, {UNSUPPORTED}
    yield OPEN, path + uint32(1), bad
    yield OPEN, path + uint32(1) + uint32(0x80000000) + uint32(0xFFFFFFFF), bad
    yield READ, handle, bad
    yield READ, string(b"x" * 300) + uint64(0) + uint32(1), {4}
    yield READ, string(b"") + uint64(0) + uint32(1), {4}
    yield READ, handle + uint64((1 << 64) - 1) + uint32(0xFFFFFFFF), {1}
    yield WRITE, handle + uint64(0) + uint32(10) + b"short", bad
    yield WRITE, handle + uint64((1 << 64) - 1) + string(b"x"), {3, 4}
    yield READDIR, handle, {4}
    yield CLOSE, string(bytes(16)), {4}
    yield 9, path + uint32(1) + uint64(1 << 63), {4}
    yield EXTENDED, string(b"x" * 70_000) + path, {UNSUPPORTED}
    yield EXTENDED, string(b"statvfs@openssh.com"), bad
    yield STAT, string(b"/\0"), {2, 3, 4, 5}
    yield STAT, string(b"/x" * 10_000), {2, 4}


class RequestTests(FilesCase):
    def test_malformedRequestsAreAnsweredOrEndTheChannel(self) -> None:
        (self.place / "f").write_bytes(b"data")
        count = 0
        with SFTP(self.node) as sftp:
            handle = sftp.opened(b"/f")
            for kind, body, codes in malformed(handle):
                self.assertIn(codeOf(sftp.ask(kind, body)), codes, (kind, body[:60]))
                count += 1
            self.assertEqual(sftp.ask(READ, handle, uint64(0), uint32(9)), bytes((DATA,)) + string(b"data"))
            for broken in (uint32(0), uint32(4) + bytes(4), uint32(1 << 20), uint32(0xFFFFFFFF), b"GET / HTTP/1.0\r\n"):
                sftp.openChannel()
                sftp.send(sending(sftp.channel, broken))
                sftp.answer(scripted.CHANNEL_CLOSE)
                sftp.send(bytes((scripted.CHANNEL_CLOSE,)) + uint32(sftp.channel))
                count += 1
        figure(f"{count} malformed requests were refused")
        self.assertServes()

    def test_mutatedRequests(self) -> None:
        (self.place / "f").write_bytes(b"data")
        chance = random.Random(4)
        with SFTP(self.node) as sftp:
            handle = sftp.opened(b"/f")
            whole = [(READ, handle + uint64(0) + uint32(4)), (OPEN, string(b"/f") + uint32(1) + NOTHING)]
            whole += [(STAT, string(b"/f")), (9, string(b"/f") + uint32(12) + uint32(0o600) * 3), (17, string(b"/"))]
            requests = []
            for _ in range(choose(400, 20_000)):
                kind, body = chance.choice(whole)
                mutated = bytearray(body)
                for _ in range(chance.randrange(1, 4)):
                    mutated[chance.randrange(len(mutated))] = chance.randrange(256)
                requests.append((kind, bytes(mutated[: chance.choice((len(body), chance.randrange(len(body) + 1)))])))
            answers = sftp.askAll(requests)
            self.assertTrue(all(answer[0] in (STATUS, HANDLE, DATA, 105) for answer in answers))
        self.assertServes()

    def test_handlesAreFew(self) -> None:
        (self.place / "f").write_bytes(b"data")
        with SFTP(self.node) as sftp:
            answers = sftp.askAll([(OPEN, string(b"/f") + uint32(1) + NOTHING)] * 300)
            self.assertEqual([answer[0] for answer in answers].count(HANDLE), 256)
            self.assertEqual(codeOf(sftp.ask(OPENDIR, string(b"/"))), 4)
            self.assertEqual(codeOf(sftp.ask(CLOSE, answers[0][1:])), OK)
            self.assertEqual(sftp.ask(OPENDIR, string(b"/"))[0], HANDLE)
        self.assertServes()


# --- memory and patience


class PatienceTests(FilesCase):
    def test_answersThatNobodyReads(self) -> None:
        """400 READs of 255 KiB, 100 MB in all, of a client that does not read."""
        (self.place / "large").write_bytes(bytes(1 << 20))
        with Bystander(self.node, "bob") as bystander, SFTP(self.node) as sftp:
            resting = bystander.rest(1)
            before = residentBytes(self.node)
            handle = sftp.opened(b"/large")

            def work() -> None:
                for _ in range(400):
                    sftp.request(READ, handle, uint64(0), uint32(255 * 1024))
                time.sleep(2)

            taken = bystander.during(work)
            grown = residentBytes(self.node) - before
            figure(f"400 unread READs of 255 KiB: {grown / 1e6:.1f} MB")
            self.tell("beside 400 unread READs", taken, resting)
            self.assertLess(grown, 40 << 20)
            self.assertUndisturbed(taken, resting, 0.05)

            def readAll() -> None:
                for _ in range(400):
                    self.assertEqual(len(sftp.packet()), 255 * 1024 + 9)

            self.tell("while they are read at last", bystander.during(readAll), resting)

    def tell(self, when: str, seconds: Sequence[float], resting: float) -> None:
        ordered = [1000 * each for each in sorted(seconds)]
        tenth = ordered[len(ordered) * 9 // 10]
        figure(
            f"an ls of somebody else {when}: median {statistics.median(ordered):.1f} ms, p90 {tenth:.1f} ms,"
            f" longest {ordered[-1]:.1f} ms of {len(ordered)}; at rest {1000 * resting:.1f} ms"
        )

    def test_hugeFolder(self) -> None:
        folder = self.place / "huge"
        folder.mkdir()
        descriptor = os.open(folder, os.O_RDONLY)
        count = choose(20_000, 100_000)
        for number in range(count):
            os.close(os.open(f"a file with number {number}", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
        os.close(descriptor)
        with Bystander(self.node, "bob") as bystander, SFTP(self.node) as sftp:
            resting = bystander.rest(1)
            before = residentBytes(self.node)
            first: list[float] = []
            names: list[bytes] = []

            def work() -> None:
                begun = time.monotonic()
                handle = sftp.ask(OPENDIR, string(b"/huge"))[1:]
                while (answer := sftp.ask(READDIR, handle))[0] == NAME:
                    first.append(time.monotonic() - begun)
                    names.extend(namesOf(answer[1:]))
                sftp.ask(CLOSE, handle)

            taken = bystander.during(work)
            grown = residentBytes(self.node) - before
        figure(
            f"{count} names: the first after {first[0]:.2f} s, the last after {first[-1]:.1f} s, {grown / 1e6:.1f} MB"
        )
        self.tell(f"while {count} names are listed", taken, resting)
        self.assertEqual(len(set(names) - {b".", b".."}), count)
        self.assertLess(first[0], choose(5, 0.5) + 10 * resting)
        self.assertLess(grown, 50 << 20)
        self.assertUndisturbed(taken, resting, 0.05)

    def test_checksumsKeepNobodyWaiting(self) -> None:
        with open(self.place / "large", "wb") as file:
            file.truncate(choose(256, 2048) << 20)
        with Bystander(self.node, "bob") as bystander, SFTP(self.node) as sftp:
            resting = bystander.rest(0.5)

            def work() -> None:
                body = string(b"check-file-name") + string(b"/large") + string(b"sha256") + uint64(0) * 2 + uint32(0)
                for _ in range(20):
                    sftp.request(EXTENDED, body)
                begun = time.monotonic()
                self.logInSeconds()
                figure(f"a log-in beside 20 checksums: {time.monotonic() - begun:.2f} s")
                self.assertLess(time.monotonic() - begun, choose(10, 1) + 10 * resting)
                time.sleep(1)

            taken = bystander.during(work)
            self.tell("beside 20 checksums", taken, resting)
            self.assertUndisturbed(taken, resting, 0.1)
