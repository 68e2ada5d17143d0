"""`crowdgrid hub`: run a hub."""

from __future__ import annotations

from typing import Any

import click

EPILOG = """
\b
Examples:
  crowdgrid hub                                     on this machine only, port 7070
  crowdgrid hub --listen 0.0.0.0:7070 --tls-cert cert.pem --tls-key key.pem
  crowdgrid hub --store postgresql://grid@db/grid   a store of its own

\b
The first start makes an admin token and shows it once. Environment: CROWDGRID_LISTEN, CROWDGRID_STORE,
CROWDGRID_DATA, CROWDGRID_TLS_CERT, CROWDGRID_TLS_KEY; secrets only there: CROWDGRID_ADMIN_TOKEN,
CROWDGRID_INVITATION.
"""


@click.command(epilog=EPILOG)
@click.option("--listen", metavar="HOST:PORT", help="Where to listen (default 127.0.0.1:7070, this machine only).")
@click.option("--data", metavar="DIR", help="The hub's folder: store, blobs, admin token.")
@click.option("--store", metavar="URL", help="sqlite:///PATH or postgresql://…; default: SQLite in --data.")
@click.option("--blobs", metavar="DIR", help="Where programs and large results are kept; default: in --data.")
@click.option("--tls-cert", metavar="FILE", help="Certificate (PEM), with --tls-key.")
@click.option("--tls-key", metavar="FILE", help="Its private key (PEM).")
@click.option("--insecure", is_flag=True, default=None, help="Listen beyond this machine without TLS.")
@click.option(
    "--ranking",
    type=click.Choice(["crowd", "priority_fit", "weighted_round_robin", "fifo"]),
    help="Which task goes first, and to which node (default crowd).",
)
@click.option(
    "--trust-up", type=float, metavar="N", help="What a vote that agrees adds to a node's trust (default 0.1)."
)
@click.option("--trust-down", type=float, metavar="N", help="What one that does not takes from it (default 0.5).")
@click.option(
    "--trust-from",
    type=click.Choice(["steps", "posterior"]),
    help="Where the trust index comes from: steps (default), or what is believed of the node's answers.",
)
@click.option(
    "--absence-days",
    type=float,
    metavar="DAYS",
    help="Away for so long, a node keeps half its standing (default 180; 0 all of it).",
)
@click.option(
    "--closing-audits",
    type=int,
    metavar="N",
    help="Last answers of each node looked at twice before a job is complete (default 3).",
)
@click.option(
    "--canary-rate",
    type=float,
    metavar="SHARE",
    help="Of a node's tasks whose answer is known (default 0.01; 20 times as many for newcomers).",
)
@click.option(
    "--speculate/--no-speculate",
    default=None,
    help="Give late tasks at a job's end to one more node (default), or wait for them.",
)
@click.option("--audit-rate", type=float, metavar="SHARE", help="Of tasks looked at twice in any case (default 0.03).")
@click.option(
    "--owners-vote-once/--owners-vote-often",
    default=None,
    help="Whether nodes of one owner count as one witness (default), or each by itself: for a hub of one owner.",
)
@click.option(
    "--blocks-vote-once",
    is_flag=True,
    default=None,
    help="Nodes at addresses of one block (IPv4 /24, IPv6 /48) count as one witness, too.",
)
@click.option("--log", type=click.Choice(["text", "json"]), help="Form of the log on standard error.")
@click.option("--fd", type=int, help="An inherited socket that listens already.")
@click.option("--with-parent", is_flag=True, default=None, help="End when standard input closes.")
def command(**options: Any) -> int:
    """Run a hub: it takes jobs, leases their tasks to nodes and keeps the results."""
    from crowdgrid.hub.app import serve
    from crowdgrid.settings import from_options

    return serve(from_options(**options))
