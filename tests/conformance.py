"""Tries the administration's API with whatever its description allows, and much that it does not.

schemathesis asks a real node. No answer may be a failure of the server, or one that the description does not tell of.

``python -m tests.conformance --examples 5`` takes some three minutes; schemathesis is installed by tox alone.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from cftpcluster.testing.processes import NodeProcess, loopbackAddresses, program

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
)
"""What holds for every answer. That what fits the schema is taken does not: names have to be known, too."""

SETTINGS = {"neverBan": ["127.0.0.0/8"]}
"""So many passwords are wrong that the address would be banned."""


def try_(examples: int, seed: int, phases: str) -> int:
    """The exit code of schemathesis."""
    with tempfile.TemporaryDirectory() as folder:
        node = NodeProcess("node-a", loopbackAddresses(1)[0], Path(folder) / "node-a")
        try:
            node.start("primary")
            node.apply({"settings": SETTINGS, "users": [{"name": "alice"}], "groups": [{"name": "partners"}]})
            token = node.ask("POST", "tokens", {"name": "conformance", "scopes": ["full"]})["token"]
            # Of a wide choice of names most are no path at all; that is no fault of the API.
            command = [
                *(program("schemathesis"), "run", f"https://{node.address}:8444/api/v1/openapi.json"),
                *("--tls-verify", "false", "--header", f"Authorization: Bearer {token}", "--workers", "1"),
                *("--checks", ",".join(CHECKS), "--phases", phases, "--max-examples", str(examples)),
                *("--seed", str(seed), "--request-timeout", "30", "--continue-on-failure", "--no-shrink"),
                *("--suppress-health-check", "filter_too_much,too_slow"),
            ]
            code = subprocess.run(command, cwd=folder, check=False).returncode
            print(f"the node is {'alive' if node.health('/livez')[0] == 200 else 'dead'}")  # noqa: T201
            return code
        finally:
            node.kill()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=5, help="for each operation")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--phases", default="examples,coverage,fuzzing")
    given = parser.parse_args()
    sys.exit(try_(given.examples, given.seed, given.phases))


if __name__ == "__main__":
    main()
