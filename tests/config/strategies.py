"""Hypothesis strategies for documents and the changes that make them."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from cftpcluster.config.changes import Batch, Change, MergeSettings, Promote, Put, Remove, apply
from cftpcluster.config.document import (
    Admin,
    Backend,
    Certificate,
    Checker,
    ClusterKey,
    Document,
    Group,
    HostKey,
    JoinToken,
    Limits,
    Listener,
    Method,
    Mount,
    Node,
    Observer,
    Protocol,
    Quota,
    Role,
    Secret,
    User,
)
from cftpcluster.vocabulary import Permission

EXAMPLES = 40


def forAll(*strategies: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """As :func:`hypothesis.given`, with examples that are quickly tried, and no deadline on a busy machine."""
    return lambda test: settings(max_examples=EXAMPLES, deadline=None)(given(*strategies)(test))


# Few names, so that changes meet the objects of earlier ones.
names = st.sampled_from(["a", "b", "node-1", "x@y.z", "Z_9"])
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
plains: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
secrets = st.builds(Secret, st.binary(max_size=20))
# Keys that no class of this version has.
options = st.dictionaries(st.sampled_from(["root", "tls", "passivePorts", "é"]), plains, max_size=3)
extras = st.dictionaries(st.sampled_from(["laterKey", "anotherKey"]), plains, max_size=2)
times = st.datetimes(timezones=st.just(datetime.UTC))
amounts = st.integers(0, 2**62)
mounts = st.builds(
    Mount,
    path=st.sampled_from(["/", "/a", "/b/c"]),
    backend=names,
    folder=texts,
    permissions=st.frozensets(st.sampled_from(Permission)),
    atomicUploads=st.booleans(),
    extra=extras,
)
mountTuples = st.lists(mounts, max_size=2, unique_by=lambda mount: mount.path).map(tuple)


def tuples(items: st.SearchStrategy[str]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(items, max_size=2).map(tuple)


authentications = st.lists(st.lists(st.sampled_from(Method), max_size=2).map(tuple), max_size=2).map(tuple)

users = st.builds(
    User,
    name=names,
    extra=extras,
    passwordHash=texts,
    publicKeys=tuples(texts),
    enabled=st.booleans(),
    expires=st.none() | times,
    protocols=st.frozensets(st.sampled_from(Protocol)),
    allow=tuples(texts),
    authentication=authentications,
    groups=tuples(names),
    mounts=mountTuples,
    quota=st.builds(Quota, bytes=amounts, files=amounts, extra=extras),
    limits=st.builds(
        Limits, sessions=amounts, downloadBytesPerSecond=amounts, uploadBytesPerSecond=amounts, extra=extras
    ),
)
admins = st.builds(Admin, name=names, passwordHash=texts, role=st.sampled_from(Role), enabled=st.booleans())
objects: dict[str, st.SearchStrategy[Any]] = {
    "backends": st.builds(Backend, name=names, kind=names, options=options, shared=st.booleans()),
    "groups": st.builds(Group, name=names, mounts=mountTuples, authentication=authentications, extra=extras),
    "users": users,
    "admins": admins,
    "certificates": st.builds(Certificate, name=names, chain=texts, key=secrets),
    "hostKeys": st.builds(HostKey, name=names, key=secrets),
    "listeners": st.builds(
        Listener,
        name=names,
        kind=names,
        port=st.integers(1, 65535),
        options=options,
        allow=tuples(texts),
        deny=tuples(texts),
        proxyProtocol=st.sampled_from(("off", "optional", "required")),
        trustedProxies=tuples(texts),
    ),
    "checkers": st.builds(Checker, name=names, kind=names, options=options),
    "observers": st.builds(Observer, name=names, kind=names),
    "nodes": st.builds(Node, name=names, address=texts, listeners=st.dictionaries(names, options, max_size=2)),
    "keys": st.builds(ClusterKey, name=names, public=texts, key=secrets),
    "tokens": st.builds(JoinToken, name=names, node=names, secretHash=texts, expires=st.floats(0, 1e12)),
}
puts = st.one_of(*(st.builds(Put, st.just(section), value) for section, value in objects.items()))
removals = st.builds(Remove, st.sampled_from(sorted(objects)), names)
merges = st.builds(
    MergeSettings,
    st.dictionaries(st.sampled_from(["drainSeconds", "partialSeconds"]), st.none() | st.integers(0, 9999))
    | st.dictionaries(st.just("laterSetting"), plains),
)
promotions = st.builds(Promote, st.integers(0, 99), names, texts)
singles: st.SearchStrategy[Change] = puts | removals | merges | promotions
changes: st.SearchStrategy[Change] = singles | st.lists(singles, max_size=4).map(lambda some: Batch(tuple(some)))


def _folded(some: list[Change]) -> Document:
    document = Document()
    for change in some:
        document = apply(document, change)
    return document


documents = st.lists(changes, max_size=4).map(_folded)
