"""Settings of the trackers. Passwords, tokens and keys come from the environment alone."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator


class TrackingConfig(BaseModel):
    """Experiment trackers that take a round's scores and curves at its end; none unless asked for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mlflow: str = Field(
        "",
        description="MLflow tracking server, such as http://mlflow:5000; empty: none. Logins: "
        "MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and _PASSWORD, in the environment",
    )
    wandb: Literal["off", "online", "offline"] = Field(
        "off",
        description="Weights & Biases: online needs WANDB_API_KEY in the environment, offline writes the "
        "folder wandb/ for `wandb sync`",
    )
    project: str = Field("mathloop", min_length=1, description="MLflow experiment, and wandb project")
    seconds: int = Field(
        60, ge=1, le=3600, description="Longest time for one tracker; then the round goes on without it"
    )

    @field_validator("mlflow")
    @classmethod
    def _is_server(cls, value: str) -> str:
        if not value:
            return value
        try:
            parts = urlsplit(value)
            known = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1)
        except ValueError:
            known = False
        if not known or any(letter <= " " for letter in value):
            raise ValueError("expected a server, such as http://mlflow:5000")
        if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
            raise ValueError(
                "expected a URL without login: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or "
                "MLFLOW_TRACKING_TOKEN, in the environment"
            )
        return value.rstrip("/")


NO_TRACKING = TrackingConfig()
