"""Which of a session's requests may run at the same time (draft-ietf-secsh-filexfer-02, section 4.1).

Requests about the same file have the results that they would have one after the other; all others overlap freely. Pure
bookkeeping: knows neither packets nor files.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from attrs import define, field

from ...vocabulary import VirtualPath


@define(eq=False)
class Task:
    """One request.

    :ivar start: called once, when nothing that came earlier stands in its way.
    :ivar looks: whether it changes nothing.
    :ivar paths: what it concerns; a change of a folder concerns everything in it.
    :ivar lists: whether it looks at the names in a folder: what was changed in there before counts.
    :ivar handle: the handle that it concerns, if any.
    :ivar other: another handle that it concerns, its whole file.
    :ivar span: the part of the handle's file that it reads or writes, first byte and the one after the last.
    """

    start: Callable[[], None]
    looks: bool = False
    paths: tuple[VirtualPath, ...] = ()
    handle: object | None = None
    span: tuple[int, int] | None = None
    other: object | None = None
    lists: bool = False
    _waitsFor: int = field(default=0, init=False)
    _followers: list[Task] = field(factory=list, init=False)

    def mustFollow(self, earlier: Task) -> bool:
        """Whether it has to wait until ``earlier`` is done."""
        if self.looks and earlier.looks:
            return False
        if self.handle is not None and self.handle is earlier.handle:
            if self.span is None or earlier.span is None:
                return True
            if self.looks:
                # what is written behind the part that is read may put off the file's end
                return self.span[0] < earlier.span[1]
            if earlier.looks:
                return earlier.span[0] < self.span[1]
            return self.span[0] < earlier.span[1] and earlier.span[0] < self.span[1]
        if (self.other is not None or earlier.other is not None) and self._shares(earlier):
            return True
        if self.lists and any(path[:-1] in self.paths for path in earlier.paths):
            return True
        return (not self.looks and _concerns(self.paths, earlier.paths)) or (
            not earlier.looks and _concerns(earlier.paths, self.paths)
        )

    def _shares(self, earlier: Task) -> bool:
        """Whether a handle of both is the second one of either."""
        mine, theirs = (self.handle, self.other), (earlier.handle, earlier.other)
        return any(each is not None and each in theirs for each in mine)


def _concerns(changed: tuple[VirtualPath, ...], paths: tuple[VirtualPath, ...]) -> bool:
    return any(path[: len(change)] == change for change in changed for path in paths)


def _started() -> None:
    """In place of what was started."""


@define(eq=False)
class Order:
    """The requests of one session that are not answered yet.

    :ivar changes: how many of them change something.
    """

    _tasks: dict[Task, None] = field(factory=dict, init=False)  # a set that keeps the order of arrival
    _changes: int = field(default=0, init=False)
    _ready: deque[Task] = field(factory=deque, init=False)
    _starting: bool = field(default=False, init=False)

    def __len__(self) -> int:
        return len(self._tasks)

    def add(self, task: Task) -> None:
        """Start ``task`` as soon as may be; what it started must call :meth:`done` in the end."""
        if not task.looks or self._changes:
            for earlier in self._tasks:
                if task.mustFollow(earlier):
                    earlier._followers.append(task)
                    task._waitsFor += 1
        self._tasks[task] = None
        self._changes += not task.looks
        if not task._waitsFor:
            self._ready.append(task)
            self._startReady()

    def done(self, task: Task) -> None:
        """``task`` was answered; others may start now."""
        del self._tasks[task]
        self._changes -= not task.looks
        for follower in task._followers:
            follower._waitsFor -= 1
            if not follower._waitsFor and follower in self._tasks:
                self._ready.append(follower)
        self._startReady()

    def _startReady(self) -> None:
        # A loop: tasks that are done at once must not nest, however many follow on each other.
        if self._starting:
            return
        self._starting = True
        try:
            while self._ready:
                task = self._ready.popleft()
                # What is to start often refers to its task: the data of both would wait for the garbage collector.
                start, task.start = task.start, _started
                start()
        finally:
            self._starting = False

    def forget(self) -> None:
        """Never start what has not been started."""
        for task in [task for task in self._tasks if task._waitsFor or task in self._ready]:
            del self._tasks[task]
            self._changes -= not task.looks
        self._ready.clear()
