"""`mathloop rounds`, `logs` and `cancel`: runs on a cluster."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from pipelines.commands.exiting import INTERRUPTED
from pipelines.commands.options import CLUSTER_STORE, Host, Namespace, Store, TokenFile

RunName = Annotated[str, typer.Argument(metavar="RUN", help="The run's id, the beginning of it, or latest.")]


def rounds(
    limit: Annotated[int, typer.Option(min=1, max=100, help="Number of runs to list.")] = 20,
    watch: Annotated[bool, typer.Option("--watch", help="Then print what changes, until Ctrl-C.")] = False,
    store: Store = CLUSTER_STORE,
    host: Host = None,
    namespace: Namespace = None,
    token_file: TokenFile = None,
) -> None:
    """Lists a cluster's newest runs, and all champions with the scores that promoted them."""
    from pipelines.cluster import rounds as listing
    from pipelines.cluster.connection import Access

    try:
        listing.rounds(limit=limit, store=store, watch=watch, access=Access(host, namespace, token_file))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def logs(
    run: RunName,
    stage: Annotated[
        str | None,
        typer.Argument(metavar="STAGE", help="Default: the stage that failed, else the last one that began."),
    ] = None,
    host: Host = None,
    namespace: Namespace = None,
    token_file: TokenFile = None,
) -> None:
    """Prints the log of one stage of a run on a cluster, up to now."""
    from pipelines.cluster import logs as reading
    from pipelines.cluster.connection import Access

    reading.logs(run, stage, Access(host, namespace, token_file))


def cancel(
    run: RunName, host: Host = None, namespace: Namespace = None, token_file: TokenFile = None
) -> None:
    """Cancels a run in progress on a cluster: its pods are stopped, and no further stage starts."""
    from pipelines.cluster import canceling
    from pipelines.cluster.connection import Access

    canceling.cancel(run, Access(host, namespace, token_file))
