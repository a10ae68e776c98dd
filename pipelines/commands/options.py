"""Options that several commands have, and which of them a command line names."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pipelines.table import PIPELINES

Profile = Annotated[str, typer.Option(help="A profile's name (gpu, laptop, smollm, tiny) or its .yaml file.")]
Sets = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Overrides a field: grpo.steps=10.")
]
Seed = Annotated[int | None, typer.Option(min=0, max=2**31 - 1, help="Seed of every stage.")]
Pipeline = Annotated[
    str,
    typer.Option(metavar="NAME", help=f"One of {', '.join(PIPELINES)}."),
]
Serve = Annotated[bool, typer.Option("--serve", help="A promoted champion goes behind its KServe endpoints.")]
Host = Annotated[
    str | None,
    typer.Option(metavar="URL", help="KFP's address; else KF_PIPELINES_ENDPOINT, else by the kubeconfig."),
]
Namespace = Annotated[str | None, typer.Option(help="Of the runs: your profile's, in a multi-user Kubeflow.")]
Stored = Annotated[str, typer.Option(metavar="URL", help="Store of the champions.")]


def given(ctx: typer.Context) -> list[Any]:
    """The parameters that the command line names."""
    sources = ((param, ctx.get_parameter_source(param.name or "")) for param in ctx.command.params)
    return [param for param, source in sources if source is not None and source.name != "DEFAULT"]
