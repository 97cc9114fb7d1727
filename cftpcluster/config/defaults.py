"""What a new cluster starts with, apart from what it makes for itself: keys, certificates, its first administrator."""

from __future__ import annotations

from ..networks import PRIVATE_NETWORKS
from .changes import Put
from .document import Backend, Checker, Listener, Observer

DEFAULT_LISTENERS = (
    Listener(name="ftp", kind="ftp", port=2121),
    Listener(name="ftps", kind="ftp", port=2990, options={"implicit": True}),
    Listener(name="sftp", kind="sftp", port=2222),
    Listener(name="https", kind="web", port=8443),
    Listener(name="manager", kind="manager", port=8444, allow=PRIVATE_NETWORKS),
    Listener(name="cluster", kind="cluster", port=8789),
    Listener(name="health", kind="health", port=8790, allow=PRIVATE_NETWORKS),
)


def defaultChanges() -> tuple[Put, ...]:
    """What puts everything in place: local storage, the listeners, log-in by the document's users, the log.

    There are no users. A listener is valid only with its certificate, so these belong into the batch that puts one.
    """
    return (
        Put("backends", Backend(name="files", kind="local", options={"root": "files"})),
        *(Put("listeners", listener) for listener in DEFAULT_LISTENERS),
        Put("checkers", Checker(name="users", kind="users")),
        Put("observers", Observer(name="log", kind="log")),
    )
