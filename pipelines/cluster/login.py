"""Tokens for a KFP that asks for a login, as multi-user Kubeflow does."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from mathloop.errors import BadConfig
from mathloop.serving.keys import check_key, read_key

TOKEN_VARIABLE = "KF_PIPELINES_TOKEN"
PATH_VARIABLE = "KF_PIPELINES_SA_TOKEN_PATH"
MOUNTED = Path("/var/run/secrets/kubeflow/pipelines/token")
"""Where Kubeflow mounts a ServiceAccount's token; kubelet renews the file."""
AUDIENCE = "pipelines.kubeflow.org"
CREATE = f"kubectl create token default-editor -n NAMESPACE --audience={AUDIENCE} > FILE"

Token = Callable[[], str]


def token_source(token_file: Path | None) -> Token | None:
    """Reads the token of `--token-file`, else of KF_PIPELINES_TOKEN, else the mounted one; None without any.

    Files are read again for every request, since their tokens are renewed.

    Raises:
        BadConfig: the file cannot be read, or there is no token in it.
    """
    if token_file is not None:
        return _of_file(token_file, "--token-file")
    if (key := read_key(TOKEN_VARIABLE)) is not None:
        return lambda: key
    named = os.environ.get(PATH_VARIABLE, "").strip()
    if named:
        return _of_file(Path(named), PATH_VARIABLE)
    return _of_file(MOUNTED, "the mounted token") if MOUNTED.is_file() else None


def _of_file(path: Path, option: str) -> Token:
    def read() -> str:
        try:
            return check_key(path.read_text("utf-8"), f"{option}: {path}", f"write a token there: {CREATE}")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not text"
            raise BadConfig(
                f"{option}: cannot read {path} ({reason}); write a token there: {CREATE}"
            ) from None

    read()
    return read
