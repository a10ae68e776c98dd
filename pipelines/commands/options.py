"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pipelines.table import PIPELINES

Profile = Annotated[str, typer.Option(help="Profile name, as `mathloop profiles` lists them, or .yaml file.")]
Sets = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting: grpo.steps=10.")
]
Seed = Annotated[int | None, typer.Option(min=0, max=2**31 - 1, help="Seed of every stage.")]
Pipeline = Annotated[
    str,
    typer.Option(metavar="NAME", help=f"Pipeline: {', '.join(PIPELINES)}."),
]
Problems = Annotated[
    str | None,
    typer.Option(
        metavar="PATH", help="Training problems: a file or a folder/ in the store, or s3://bucket/key."
    ),
]
Serve = Annotated[bool, typer.Option("--serve", help="Deploy a promoted champion to its KServe endpoints.")]
Host = Annotated[
    str | None,
    typer.Option(metavar="URL", help="KFP's URL. Default: KF_PIPELINES_ENDPOINT, or through the kubeconfig."),
]
Namespace = Annotated[
    str | None, typer.Option(help="Kubernetes namespace of the runs; required in multi-user Kubeflow.")
]
TokenFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="File with a token for KFP; needed if its URL asks for a login."),
]
Store = Annotated[str, typer.Option(metavar="URL", help="Store of the champions.")]
CLUSTER_STORE = "s3://mathloop/store"
"""Default of Store on a cluster."""


def explicit_params(ctx: typer.Context) -> list[Any]:
    """The parameters that are set on the command line, not by default."""
    sources = ((param, ctx.get_parameter_source(param.name or "")) for param in ctx.command.params)
    return [param for param, source in sources if source is not None and source.name != "DEFAULT"]
