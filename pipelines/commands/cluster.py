"""`mathloop compile`, `submit`, `schedule`, `rounds`, `rollback` and `doctor`: pipelines on a cluster."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from mathloop.errors import BadConfig
from pipelines.commands.options import Host, Namespace, Pipeline, Profile, Seed, Serve, Sets, Stored, given

CLUSTER_STORE = "s3://mathloop/store"


def compile_pipelines(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for one .yaml a pipeline.")],
    profile: Annotated[
        str | None, typer.Option(help="Compiles its pools in; its settings become the defaults.")
    ] = None,
    sets: Sets = None,
) -> None:
    """Writes every pipeline as KFP's intermediate representation, for a cluster."""
    from pipelines.compiling import write_compiled
    from pipelines.profile import load_profile

    if profile is None and sets:
        raise BadConfig("--set changes a profile; give one by --profile")
    for path in write_compiled(out, None if profile is None else load_profile(profile, sets or [])):
        print(path)


def submit(
    profile: Profile = "laptop",
    sets: Sets = None,
    seed: Seed = None,
    pipeline: Pipeline = "improvement-round",
    serve: Serve = False,
    host: Host = None,
    namespace: Namespace = None,
) -> None:
    """Starts a run on a cluster; the pipeline is uploaded there as a new version if it changed."""
    from pipelines.cluster import submitting

    submitting.submit(
        pipeline=pipeline,
        profile=profile,
        sets=sets or [],
        seed=seed,
        serve=serve,
        host=host,
        namespace=namespace,
    )


def schedule(
    cron: Annotated[
        str | None, typer.Option(metavar="CRON", help='When, in UTC: "0 2 * * *"; six fields with seconds.')
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="Prints the schedules there.")] = False,
    delete: Annotated[
        bool, typer.Option("--delete", help="Deletes the one of this pipeline and profile.")
    ] = False,
    profile: Profile = "laptop",
    sets: Sets = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, max=2**31 - 1, help="Seed of every run; else each run draws its own."),
    ] = None,
    pipeline: Pipeline = "improvement-round",
    serve: Serve = False,
    host: Host = None,
    namespace: Namespace = None,
) -> None:
    """Has a cluster start runs again and again: one at a time, of the newest version, none made up for.

    Called again it changes the schedule of this pipeline and profile, and never makes a second one.
    """
    from pipelines.cluster import scheduling

    if [cron is not None, listed, delete].count(True) != 1:
        raise BadConfig("give one of --cron, --list and --delete")
    if listed:
        scheduling.list_schedules(host=host, namespace=namespace)
    elif delete:
        scheduling.delete_schedule(
            pipeline=pipeline, profile=profile, sets=sets or [], host=host, namespace=namespace
        )
    else:
        scheduling.schedule(
            cron=cron or "",
            pipeline=pipeline,
            profile=profile,
            sets=sets or [],
            seed=seed,
            serve=serve,
            host=host,
            namespace=namespace,
        )


def rounds(
    limit: Annotated[int, typer.Option(min=1, max=100, help="Runs to print.")] = 20,
    store: Stored = CLUSTER_STORE,
    host: Host = None,
    namespace: Namespace = None,
) -> None:
    """Prints a cluster's newest runs, and the line of champions with what their gates measured."""
    from pipelines.cluster import champions

    champions.rounds(limit=limit, store=store, host=host, namespace=namespace)


def rollback(
    to: Annotated[
        int | None, typer.Option(min=0, help="Champion to go back to, else the one before.")
    ] = None,
    store: Stored = CLUSTER_STORE,
    serve: Annotated[bool, typer.Option("--serve", help="Puts it behind the endpoints as well.")] = False,
    profile: Profile = "laptop",
    sets: Sets = None,
) -> None:
    """Makes an earlier champion's models champion again, as a new entry of the line."""
    from pipelines.cluster import champions

    champions.rollback(to=to, store=store, serve=serve, profile=profile, sets=sets or [])


def doctor(
    ctx: typer.Context,
    cluster: Annotated[
        bool, typer.Option("--cluster", help="Looks at the kubeconfig's cluster in place of this machine.")
    ] = False,
    profile: Profile = "laptop",
    sets: Sets = None,
    host: Host = None,
    namespace: Namespace = None,
) -> None:
    """Says what is missing here, or on a cluster for a profile; exits with 1 where something is."""
    if cluster:
        from pipelines.cluster.examining import examine_cluster

        findings = examine_cluster(profile=profile, sets=sets or [], host=host, namespace=namespace)
    else:
        from pipelines.doctor import examine

        for param in given(ctx):
            raise BadConfig(f"doctor takes {param.opts[0]} only together with --cluster")
        findings = examine()
    for finding in findings:
        print(f"{'ok  ' if finding.good else 'MISS'} {finding.what}: {finding.said}")
    if not all(finding.good for finding in findings):
        sys.exit(1)
