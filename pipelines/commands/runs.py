"""`mathloop rounds`, `logs` and `cancel`: runs on a cluster, and the rounds of a store."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from mathloop.errors import BadConfig
from pipelines.commands.exiting import INTERRUPTED
from pipelines.commands.options import CLUSTER_STORE, Host, Namespace, Store, TokenFile, explicit_params

RunName = Annotated[str, typer.Argument(metavar="RUN", help="The run's id, the beginning of it, or latest.")]


def rounds(
    ctx: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=100, help="Number of runs to list.")] = 20,
    watch: Annotated[bool, typer.Option("--watch", help="Then print what changes, until Ctrl-C.")] = False,
    store: Store = CLUSTER_STORE,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the store's champions and rounds as JSON.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page over the store's rounds: page.html.")
    ] = None,
    host: Host = None,
    namespace: Namespace = None,
    token_file: TokenFile = None,
) -> None:
    """Lists a cluster's newest runs, and the champions and rounds of --store, without a cluster too.

    A store's rounds are shown with what each changed, the time and the tokens that it took. Where no cluster
    answers, and with --json or --out, the store alone is shown.
    """
    if as_json or out is not None:
        if watch:
            raise BadConfig("--watch follows a cluster's runs; leave out --json and --out")
        _of_store(store, as_json, out)
        return
    from mathloop.cluster.refusals import ClusterRefused
    from pipelines.cluster import rounds as listing
    from pipelines.cluster.connection import Access

    access = Access(host, namespace, token_file)
    try:
        listing.rounds(limit=limit, store=store, watch=watch, access=access)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except ClusterRefused as error:
        if watch or host or not any(param.name == "store" for param in explicit_params(ctx)):
            raise
        print(f"no cluster ({error}), so the store alone:", file=sys.stderr)
        _of_store(store, as_json, out)


def _of_store(url: str, as_json: bool, out: Path | None) -> None:
    from mathloop.files import write_file
    from mathloop.reports import rounds as showing
    from mathloop.storage import open_store
    from pipelines.paths import check_page

    if out is not None:
        check_page("--out", out)
    if "://" not in url and not Path(url).is_dir():
        raise BadConfig(f"--store {url}: there is no such folder; mathloop run --store {url} begins one")
    found = showing.read_rounds(open_store(url))
    for note in showing.notes(found):
        print(f"mathloop: note: {note}", file=sys.stderr)
    print(json.dumps(showing.to_json(found), ensure_ascii=False) if as_json else showing.text(found))
    if out is not None:
        write_file(out, showing.html(found).encode("utf-8"))
        if not as_json:
            print(f"\npage: {out}")


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
