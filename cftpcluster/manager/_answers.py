"""JSON Schema of what the administration answers with beside the objects of the document."""

from __future__ import annotations

from typing import Any

from ..auth.bans import Ban
from ..config.document import Role, Scope
from ..files.transfers import Transfer
from ._schemas import Schema, classSchema, listOf, mapping, orNull, page, ref

TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
FLAG: Schema = {"type": "boolean"}
NAMES: Schema = listOf(TEXT)
TIME: Schema = {"type": "number", "description": "Seconds since the epoch."}
ROLE: Schema = {"type": "string", "enum": [each.value for each in Role]}
HASH: Schema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
INITIAL: Schema = {
    "type": "boolean",
    "description": "Whether the password is still the one that the cluster was founded with.",
}
CSRF: Schema = {"type": "string", "description": "To be sent as `X-CSRF-Token` with whatever changes something."}

WRITTEN: dict[str, Any] = {
    "revision": {"type": "integer", "description": "The revision that holds the change."},
    "live": {**NAMES, "description": "Nodes on which it is live."},
    "pending": {**NAMES, "description": "Nodes that are connected and on which it is not yet."},
}
CHANGED: Schema = {**NAMES, "description": "What changed, or would, for people."}

TOKEN: dict[str, Any] = {
    "id": TEXT,
    "name": TEXT,
    "admin": {"type": "string", "description": "Whose it is."},
    "scopes": listOf({"type": "string", "enum": [each.value for each in Scope]}),
    "created": TIME,
    "expires": TIME,
    "lastUsed": orNull({**TIME, "description": "To the hour; null where it never was."}),
    "good": {"type": "boolean", "description": "Whether it can be used now."},
}

ENTRY: dict[str, Any] = {
    "revision": WHOLE,
    "epoch": WHOLE,
    "time": TIME,
    "author": {"type": "string", "description": "The administrator, and the token where one was used."},
    "address": {"type": "string", "description": "From where; `socket` is the administration socket."},
    "node": {"type": "string", "description": "Where it came in."},
    "objects": {**NAMES, "description": "The first objects that it touched."},
    "removed": {**NAMES, "description": "Those of them that it removed."},
    "count": {"type": "integer", "description": "How many it touched."},
    "promoted": orNull({"type": "string", "description": "Who became primary by it."}),
}

DIFFERENCES: dict[str, Any] = {
    "differences": listOf(
        mapping(
            {
                "action": {"type": "string", "enum": ["added", "changed", "removed"]},
                "section": TEXT,
                "name": {"type": "string", "description": "Empty for the settings."},
                "keys": listOf(
                    mapping(
                        {
                            "key": TEXT,
                            "before": {"description": "Absent where it had its default."},
                            "after": {"description": "Absent where it has its default."},
                            "hidden": {"type": "boolean", "description": "It differs, and is never shown."},
                        },
                        ("key",),
                    )
                ),
                "text": {"type": "string", "description": "All of it for people."},
            }
        )
    ),
    "total": WHOLE,
    "next": orNull(TEXT),
}

NODE_STATUS = mapping(
    {
        "name": TEXT,
        "role": orNull(TEXT),
        "state": TEXT,
        "revision": orNull(WHOLE),
        "chainHash": orNull(TEXT),
        "live": orNull(WHOLE),
        "lagSeconds": orNull(NUMBER),
        "version": orNull(TEXT),
        "address": orNull(TEXT),
        "problems": NAMES,
        "sessions": orNull({**WHOLE, "description": "Of users; null where the node cannot be heard."}),
        "connections": orNull({**WHOLE, "description": "Of clients and administrators."}),
        "bytesInPerSecond": orNull({**WHOLE, "description": "Bytes of files from clients."}),
        "bytesOutPerSecond": orNull({**WHOLE, "description": "Bytes of files to clients."}),
    },
    ("name", "role", "state", "revision", "chainHash", "lagSeconds", "version", "address", "problems"),
    others=True,
)

STATUS = mapping(
    {
        "node": {"type": "string", "description": "The node that answers."},
        "role": {"type": "string", "enum": ["primary", "secondary"]},
        "primary": TEXT,
        "epoch": WHOLE,
        "revision": WHOLE,
        "chainHash": HASH,
        "warnings": NAMES,
        "nodes": listOf(ref("NodeStatus")),
    }
)

SERIES = mapping(
    {
        "node": TEXT,
        "hours": WHOLE,
        "stepSeconds": {"type": "number", "description": "From one time to the next, unless some are missing."},
        "times": {**listOf(NUMBER), "description": "Ends of the steps, in seconds since the epoch, the oldest first."},
        "lagSeconds": {**listOf(NUMBER), "description": "The longest of the step."},
        "sessions": {
            "type": "object",
            "additionalProperties": listOf(WHOLE),
            "description": "Of users, by protocol: the most of the step.",
        },
        "bytesInPerSecond": {**listOf(WHOLE), "description": "Bytes of files from clients."},
        "bytesOutPerSecond": {**listOf(WHOLE), "description": "Bytes of files to clients."},
        "loginsAccepted": {**listOf(WHOLE), "description": "Log-ins within the step."},
        "loginsFailed": {**listOf(WHOLE), "description": "Log-ins that failed, or were turned away."},
    }
)

PROBLEM = mapping(
    {
        "title": TEXT,
        "status": WHOLE,
        "detail": TEXT,
        "errors": listOf(mapping({"path": {"type": "string", "description": "Where it is wrong."}, "message": TEXT})),
        "current": {"description": "With 412: the object as it is now; null where it is not there."},
        "requestId": {"type": "string", "description": "With 504: what the change is known by, if it was made."},
        "revision": WHOLE,
        "durableOn": NAMES,
    },
    ("title", "status"),
    "What went wrong (RFC 9457).",
    others=True,
)

SESSION = mapping(
    {
        "id": TEXT,
        "user": TEXT,
        "protocol": TEXT,
        "listener": TEXT,
        "address": TEXT,
        "since": TIME,
        "seen": {**TIME, "description": "Its last use, as far as it was told: not to the second."},
        "node": TEXT,
        "software": TEXT,
    }
)

CERTIFICATE: dict[str, Any] = {
    "name": TEXT,
    "revision": WHOLE,
    "listeners": {**NAMES, "description": "Listeners that serve with it."},
    "names": {**NAMES, "description": "Host names and addresses that it is for."},
    "subject": TEXT,
    "issuer": TEXT,
    "selfSigned": FLAG,
    "begins": TIME,
    "ends": {**TIME, "description": "When it ends, or the first of its chain."},
    "chainLength": {"type": "integer", "description": "How many certificates there are, with the server's own."},
    "keyType": {"type": "string", "description": "Such as `ECDSA P-256`."},
    "fingerprint": HASH,
    "problem": {"type": "string", "description": "Why nothing more is told; empty where all is."},
}

HOST_KEY: dict[str, Any] = {
    "name": TEXT,
    "revision": WHOLE,
    "since": {"type": "integer", "description": "The revision that it came with."},
    "type": {"type": "string", "description": "Such as `ssh-ed25519`."},
    "keyType": {"type": "string", "description": "Such as `RSA 3072`."},
    "fingerprint": {"type": "string", "description": "As `ssh-keygen -l` shows it."},
    "publicKey": {"type": "string", "description": "As in `known_hosts`, without a host."},
    "inUse": {"type": "boolean", "description": "Whether it proves the host; else it waits, and clients learn it."},
    "problem": {"type": "string", "description": "Why it cannot be used; empty where it can."},
}

UNANSWERED: Schema = {
    **listOf(mapping({"node": TEXT, "why": TEXT})),
    "description": "Nodes that did not answer: what they would have told is missing.",
}


def answerSchemas() -> dict[str, Schema]:
    """All of them, by name."""
    kept = {**NAMES, "description": "What stays as it is although it differs, for people."}
    amounts = {"bytes": WHOLE, "files": WHOLE}
    return {
        "Problem": PROBLEM,
        "Written": mapping(WRITTEN),
        "Applied": mapping({**WRITTEN, "changed": CHANGED}, ("revision", "changed")),
        "RolledBack": mapping({**WRITTEN, "changed": CHANGED, "kept": kept}, ("revision", "changed", "kept")),
        "NodeRemoved": mapping({**WRITTEN, "left": NAMES, "byHand": NAMES}),
        "Waited": mapping({**WRITTEN, "problems": {"type": "object", "additionalProperties": NAMES}}),
        "NodeStatus": NODE_STATUS,
        "Status": STATUS,
        "Series": SERIES,
        "Balancer": mapping({"configuration": TEXT, "warnings": NAMES}),
        "JoinToken": mapping({"token": TEXT, "name": TEXT, "expiresSeconds": NUMBER, "revision": WHOLE}),
        "NodeAnswer": mapping({"node": TEXT}, others=True, text="What came of it on the node."),
        "LoggedIn": mapping({"csrfToken": CSRF, "role": ROLE}),
        "Session": mapping(
            {"name": TEXT, "role": ROLE, "initialPassword": INITIAL, "token": TEXT, "csrfToken": CSRF}, ("name", "role")
        ),
        "Sessions": page(SESSION),
        "Transfer": classSchema(Transfer),
        "Transfers": page(ref("Transfer"), unanswered=UNANSWERED),
        "SessionsEnded": mapping({"user": TEXT, "ended": {"type": "integer", "description": "How many there were."}}),
        "Ban": classSchema(Ban),
        "Bans": page(ref("Ban")),
        "Usage": mapping(
            {"user": TEXT, "node": TEXT, **amounts, "quota": mapping(amounts), "complete": FLAG}, ("user", *amounts)
        ),
        "HistoryEntry": mapping(ENTRY),
        "History": mapping(
            {
                "items": listOf(ref("HistoryEntry")),
                "next": orNull(WHOLE),
                "oldest": {"type": "integer", "description": "The oldest revision that can be gone back to."},
                "revision": {"type": "integer", "description": "The present one."},
            }
        ),
        "Revision": mapping({**ENTRY, **DIFFERENCES}),
        "Difference": mapping({"from": WHOLE, "to": WHOLE, **DIFFERENCES}),
        "Keys": mapping({"certificates": listOf(ref("CertificateAbout")), "hostKeys": listOf(ref("HostKeyAbout"))}),
        "CertificateAbout": mapping(CERTIFICATE, ("name", "revision", "listeners", "problem")),
        "HostKeyAbout": mapping(HOST_KEY),
        "SigningRequest": mapping(
            {
                "csr": {"type": "string", "description": "PEM (PKCS#10)."},
                "made": {"type": "boolean", "description": "Whether a key was made; else it is for the one there is."},
                "revision": WHOLE,
            }
        ),
        "Event": mapping(
            {"id": WHOLE, "time": TIME, "node": TEXT, "kind": {"type": "string", "description": "What happened."}},
            ("id", "time", "node", "kind"),
            "Something that happened: beside these, the values of its kind.",
            others=True,
        ),
        "Events": mapping(
            {
                "items": listOf(ref("Event")),
                "next": orNull(TEXT),
                "unanswered": UNANSWERED,
            }
        ),
        "ApiToken": mapping(TOKEN),
        "ApiTokens": page(ref("ApiToken")),
        "ApiTokenMade": mapping({**TOKEN, **WRITTEN, "token": {"type": "string", "description": "Told this once."}}),
    }
