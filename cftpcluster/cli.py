"""``cftpctl``, the administrator's command line: a client of the REST API of a node.

It says which node is asked and as whom; the verbs are in :mod:`cftpcluster.commands`.
"""

from __future__ import annotations

from typing import Any

import click

from ._version import __version__
from .commands import accounts, backups, branches, cluster, events, history, keys, nodes, rules, tokens, transfers
from .commands.client import whereFrom
from .commands.objects import SECTIONS, sectionGroup
from .commands.program import Program


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="cftpctl", message="%(prog)s %(version)s")
@click.option(
    "--state-dir",
    "stateDirectory",
    default="",
    metavar="DIR",
    envvar="CFTPCTL_STATE_DIR",
    show_envvar=True,
    help="State folder of the node to ask.  [default: /var/lib/cftpcluster as root, else ~/.local/state/cftpcluster]",
)
@click.option("--url", default="", metavar="URL", help="Ask the node at https://HOST:8444 instead.")
@click.option("--user", default="", metavar="NAME", help="Administrator to ask as, with --url.")
@click.option("--password-file", "passwordFile", default="", metavar="FILE", help="Its password (- is standard input).")
@click.option("--token-file", "tokenFile", default="", metavar="FILE", help="An API token to ask with, instead.")
@click.option("--ca-file", "caFile", default="", metavar="FILE", help="Authorities that vouch for the server, PEM.")
@click.option("--fingerprint", default="", metavar="SHA256", help="The one certificate that the server may have.")
@click.pass_context
def cftpctl(
    context: click.Context,
    stateDirectory: str,
    url: str,
    user: str,
    passwordFile: str,
    tokenFile: str,
    caFile: str,
    fingerprint: str,
) -> None:
    """Administer a cftpcluster.

    Talks to the node on this machine over the socket in its state folder, or with --url to any node over HTTPS. Every
    verb takes --json. Exit code 0: done; 1: refused, failed or timed out, with the reason on standard error; 2: wrong
    usage.

    \b
    Examples:
      cftpctl status
      cftpctl user add alice --password-stdin < password.txt
      cftpctl apply cluster.yaml --dry-run
      cftpctl --url https://node-a:8444 --user admin --password-file p --ca-file ca.pem status

    \b
    Completion, for bash (zsh and fish alike):
      eval "$(_CFTPCTL_COMPLETE=bash_source cftpctl)"
    """
    if context.resilient_parsing:
        return
    make = context.obj or Program
    context.obj = make(whereFrom(stateDirectory, url, user, passwordFile, tokenFile, caFile, fingerprint))


nodes.node.add_command(branches.branches)
nodes.node.add_command(branches.branch)

_OWN_VERBS = {
    "user": accounts.userGroup,
    "admin": accounts.adminGroup,
    "certificate": keys.certificateGroup,
    "hostkey": keys.hostKeyGroup,
}

for _verb in (
    cluster.status,
    cluster.wait,
    cluster.apply,
    cluster.export,
    cluster.haproxy,
    history.history,
    history.diff,
    history.rollback,
    backups.backup,
    backups.restore,
    nodes.node,
    tokens.token,
    rules.sessions,
    transfers.transfers,
    rules.kick,
    rules.rotateSessionKeys,
    rules.bans,
    events.events,
):
    cftpctl.add_command(_verb)
for _section in SECTIONS:
    _make = _OWN_VERBS.get(_section.noun)
    cftpctl.add_command(_make() if _make else sectionGroup(_section))


def main(arguments: list[str] | None = None) -> Any:
    """The console script."""
    try:
        return cftpctl.main(args=arguments, prog_name="cftpctl")
    except Exception as error:  # noqa: BLE001 - a traceback is no answer to an operator
        click.echo(f"cftpctl: {type(error).__name__}: {error}", err=True)
        raise SystemExit(1) from None
