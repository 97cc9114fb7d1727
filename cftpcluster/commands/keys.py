"""Verbs about certificates and host keys: whatever takes more than keys and values."""

from __future__ import annotations

from typing import Any

import click

from .client import escaped
from .objects import BY_NOUN, Section, addObject, patchObject, readText, sectionGroup
from .program import Program, jsonOption, passProgram, printJSON, waitOption


def certificateGroup() -> click.Group:
    group = sectionGroup(BY_NOUN["certificate"])
    group.add_command(_certificateCommand("add"))
    group.add_command(_certificateCommand("set"))
    group.add_command(signingRequest)
    return group


@click.command("csr")
@click.argument("name")
@click.option(
    "--dns", "names", multiple=True, required=True, metavar="HOST", help="A host name or address; repeatable."
)
@jsonOption
@passProgram
def signingRequest(program: Program, name: str, names: tuple[str, ...], asJSON: bool) -> None:
    """Print a certificate signing request (PEM) for NAME.

    Where there is no such certificate, its key is made in the cluster, with a certificate that serves until an
    authority has signed. Upload what it signed alone; the key stays where it is.

    \b
    Example:
      cftpctl certificate csr files --dns files.example.org > files.csr
      cftpctl certificate set files --chain fullchain.pem
    """
    body = {"names": list(names)}
    answer = program.run(lambda client: client.ask("POST", f"certificates/{escaped(name)}/csr", None, body))
    if asJSON:
        printJSON(answer)
    else:
        click.echo(answer["csr"], nl=False)


def _certificateCommand(verb: str) -> click.Command:
    adding = verb == "add"
    section = BY_NOUN["certificate"]
    text = f"""{"Add" if adding else "Replace"} a TLS certificate; listeners name the one they serve with.

    \b
    Example:
      cftpctl certificate {verb} default --chain fullchain.pem --key privkey.pem
    """

    @click.command(verb, help=text)
    @click.argument("name")
    @click.option("--chain", required=True, metavar="FILE", help="PEM certificates, the server's own first.")
    @click.option(
        "--key", required=adding, metavar="FILE", help="Its private key, PEM." + ("" if adding else " Else it stays.")
    )
    @waitOption
    @jsonOption
    @passProgram
    def write(program: Program, name: str, chain: str, key: str | None, waitSeconds: float, asJSON: bool) -> None:
        body: dict[str, Any] = {"chain": readText(chain)}
        if key is not None:
            body["key"] = {"secret": readText(key)}
        _writeWhole(program, section, name, body, adding, waitSeconds, asJSON)

    return write


def hostKeyGroup() -> click.Group:
    group = sectionGroup(BY_NOUN["hostkey"])
    group.add_command(_hostKeyCommand("add"))
    group.add_command(_hostKeyCommand("set"))
    return group


def _hostKeyCommand(verb: str) -> click.Command:
    adding = verb == "add"
    section = BY_NOUN["hostkey"]
    meaning = (
        "Of several keys of a type the oldest is in use; clients that log in learn the others, so that it can be"
        " removed some weeks later and nobody is warned."
        if adding
        else "Clients that know the old one are warned, or refuse; add another one instead, if it is not urgent."
    )
    text = f"""{"Add" if adding else "Replace"} an SSH host key, the same on every node.

    {meaning}

    \b
    Example:
      cftpctl hostkey {verb} {"ed25519-2027" if adding else "ed25519"} --key ssh_host_ed25519_key
    """

    @click.command(verb, help=text)
    @click.argument("name")
    @click.option("--key", required=True, metavar="FILE", help="The private key, OpenSSH or PKCS#8 in PEM.")
    @waitOption
    @jsonOption
    @passProgram
    def write(program: Program, name: str, key: str, waitSeconds: float, asJSON: bool) -> None:
        _writeWhole(program, section, name, {"key": {"secret": readText(key)}}, adding, waitSeconds, asJSON)

    return write


def _writeWhole(
    program: Program,
    section: Section,
    name: str,
    body: Any,
    adding: bool,
    waitSeconds: float,
    asJSON: bool,
) -> None:
    if adding:
        addObject(program, section, {"name": name, **body}, waitSeconds, asJSON)
    else:
        patchObject(program, section, name, body, waitSeconds, asJSON)
