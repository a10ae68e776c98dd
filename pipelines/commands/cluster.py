"""`mathloop compile`, `submit`, `schedule`, `rollback` and `doctor`: pipelines on a cluster."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from mathloop.errors import BadConfig
from pipelines.commands.following import follow_run
from pipelines.commands.options import (
    CLUSTER_STORE,
    Host,
    Namespace,
    Pipeline,
    Problems,
    Profile,
    Seed,
    Serve,
    Sets,
    Store,
    TokenFile,
    explicit_params,
)


def compile_pipelines(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Output folder, for one .yaml per pipeline.")],
    profile: Annotated[
        str | None, typer.Option(help="Profile whose pools and settings are compiled in.")
    ] = None,
    sets: Sets = None,
) -> None:
    """Compiles every pipeline to KFP's intermediate representation (IR YAML) for a cluster."""
    from pipelines.compiling import write_compiled
    from pipelines.profile import load_profile

    if profile is None and sets:
        raise BadConfig("--set changes a profile; give one with --profile")
    for path, cost in write_compiled(out, None if profile is None else load_profile(profile, sets or [])):
        print(f"{path}: {cost.sentence()}")


def submit(
    profile: Profile = "laptop",
    sets: Sets = None,
    seed: Seed = None,
    problems: Problems = None,
    pipeline: Pipeline = "improvement-round",
    serve: Serve = False,
    follow: Annotated[
        bool, typer.Option("--follow", help="Show the run's stages and logs until it ends.")
    ] = False,
    host: Host = None,
    namespace: Namespace = None,
    token_file: TokenFile = None,
) -> None:
    """Starts a run on a cluster; uploads the pipeline as a new version if it changed.

    With --follow it exits with 0 if the run succeeds, else with 1; Ctrl-C then stops following, not the run.
    """
    from pipelines.cluster import submitting
    from pipelines.cluster.connection import Access
    from pipelines.cluster.uploading import Request

    request = Request(pipeline, profile, sets or [], seed, serve, problems)
    pipelines, run_id = submitting.submit(request, Access(host, namespace, token_file))
    if follow:
        follow_run(pipelines, run_id)


def schedule(
    cron: Annotated[
        str | None,
        typer.Option(metavar="CRON", help='When, in UTC: "0 2 * * *", or six fields with seconds.'),
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="List the schedules.")] = False,
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete the schedule of this pipeline and profile.")
    ] = False,
    cancel_running: Annotated[
        bool, typer.Option("--cancel-running", help="Also cancel the schedule's runs in progress.")
    ] = False,
    profile: Profile = "laptop",
    sets: Sets = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, max=2**31 - 1, help="Seed of every run. Default: a new one per run."),
    ] = None,
    problems: Problems = None,
    pipeline: Pipeline = "improvement-round",
    serve: Serve = False,
    host: Host = None,
    namespace: Namespace = None,
    token_file: TokenFile = None,
) -> None:
    """Schedules recurring runs on a cluster: one at a time, newest pipeline version, missed runs are skipped.

    Calling it again changes the schedule of this pipeline and profile; it never creates a second one. A run
    in progress continues when its schedule is changed or deleted, unless --cancel-running is given.
    """
    from pipelines.cluster import scheduling
    from pipelines.cluster.connection import Access
    from pipelines.cluster.uploading import Request

    access = Access(host, namespace, token_file)
    if [cron is not None, listed, delete].count(True) != 1:
        raise BadConfig("give one of --cron, --list and --delete")
    if listed and cancel_running:
        raise BadConfig("--cancel-running goes with --cron or --delete; cancel one run with: mathloop cancel")
    if listed:
        scheduling.list_schedules(access)
    elif delete:
        scheduling.delete_schedule(
            pipeline=pipeline,
            profile=profile,
            sets=sets or [],
            cancel_running=cancel_running,
            access=access,
        )
    else:
        request = Request(pipeline, profile, sets or [], seed, serve, problems)
        scheduling.schedule(request, cron=cron or "", cancel_running=cancel_running, access=access)


def rollback(
    to: Annotated[
        int | None,
        typer.Option(min=0, help="Number of the champion to go back to. Default: the previous one."),
    ] = None,
    store: Store = CLUSTER_STORE,
    serve: Annotated[bool, typer.Option("--serve", help="Also deploy it to the KServe endpoints.")] = False,
    profile: Profile = "laptop",
    sets: Sets = None,
) -> None:
    """Promotes an earlier champion's models again, as a new champion."""
    from pipelines.cluster import champions

    champions.rollback(to=to, store=store, serve=serve, profile=profile, sets=sets or [])


def doctor(
    ctx: typer.Context,
    cluster: Annotated[
        bool, typer.Option("--cluster", help="Check the kubeconfig's cluster instead of this machine.")
    ] = False,
    profile: Profile = "laptop",
    sets: Sets = None,
    host: Host = None,
    namespace: Namespace = None,
) -> None:
    """Checks that this machine, or a cluster, has what a run needs; exits with 1 if something is missing."""
    if cluster:
        from pipelines.cluster.examining import examine_cluster

        findings = examine_cluster(profile=profile, sets=sets or [], host=host, namespace=namespace)
    else:
        from pipelines.doctor import examine

        for param in explicit_params(ctx):
            raise BadConfig(f"doctor takes {param.opts[0]} only together with --cluster")
        findings = examine()
    for finding in findings:
        print(f"{'ok  ' if finding.ok else 'MISS'} {finding.name}: {finding.detail}")
    if not all(finding.ok for finding in findings):
        sys.exit(1)
