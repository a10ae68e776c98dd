"""`mathloop rounds` and `cancel`: runs on a cluster."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.commands.options import CLUSTER_STORE, Host, Namespace, Store, TokenFile

RunName = Annotated[str, typer.Argument(metavar="RUN", help="The run's id, the beginning of it, or latest.")]


def rounds(
    limit: Annotated[int, typer.Option(min=1, max=100, help="Number of runs to list.")] = 20,
    store: Store = CLUSTER_STORE,
    host: Host = None,
    namespace: Namespace = None,
    token_file: TokenFile = None,
) -> None:
    """Lists a cluster's newest runs, and all champions with the scores that promoted them."""
    from pipelines.cluster import rounds as listing
    from pipelines.cluster.connection import Access

    listing.rounds(limit=limit, store=store, access=Access(host, namespace, token_file))


def cancel(
    run: RunName, host: Host = None, namespace: Namespace = None, token_file: TokenFile = None
) -> None:
    """Cancels a run in progress on a cluster: its pods are stopped, and no further stage starts."""
    from pipelines.cluster import canceling
    from pipelines.cluster.connection import Access

    canceling.cancel(run, Access(host, namespace, token_file))
