"""One benchmark: where its problems are, how its rows are read, and how a model is asked."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mathloop.evaluation.passes import MODES
from mathloop.records import Language, Mode
from mathloop.sampling.config import PromptConfig

DEFAULT_PROMPT = PromptConfig()


class Benchmark(BaseModel):
    """A benchmark's YAML file. Unless `path` is set, its data is looked for by name in the data folders."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        description="Name, in settings and tables, and of the data's folder",
    )
    source: str = Field("", description="Where it is published")
    revision: str | None = Field(None, description="Commit or version at the source; null: not recorded")
    sha256: str | None = Field(
        None,
        pattern=r"^[0-9a-f]{64}$",
        description="Checksum of the data file, or that of the checksums of several; null: any is read",
    )
    problems: int | None = Field(
        None, ge=1, description="Problems in it, checked with sha256; null: not recorded"
    )
    note: str = Field("", description="Remark, such as what was not tried")
    path: str = Field(
        "",
        description="File or folder of the data, relative to the YAML file, or s3://… or hf://datasets/…; "
        "empty: by name",
    )
    layout: str = Field("", description="Layout of its rows; empty: recognized")
    fields: dict[str, str] = Field({}, description="Part of a problem → column that holds it")
    split: str = Field("test", description="Split to read of a folder with several")
    language: Language | None = Field(None, description="Language of all problems; null: each row's own")
    prompt: Literal["auto", "chat", "text"] = Field(
        "auto", description="chat: by the chat template; text: few-shot text; auto: chat where there is one"
    )
    few_shot: str = Field(
        "", description="Set of solved examples: a shipped one, or a YAML file beside this one"
    )
    shots: int = Field(0, ge=0, le=64, description="Examples before the problem in a text prompt")
    chat_shots: int = Field(0, ge=0, le=64, description="Examples as earlier turns of a chat prompt")
    choices: bool = Field(False, description="Multiple choice: every gold answer is a letter, or several")
    tool_use: bool = Field(True, description="Measured in TIR as well as in CoT")
    k: tuple[Annotated[int, Field(ge=1, le=65_536)], ...] = Field(
        (), description="Default of --k where all benchmarks of an evaluation state one; empty: none"
    )

    @property
    def modes(self) -> tuple[Mode, ...]:
        """The modes that it is measured in."""
        return MODES if self.tool_use else ("cot",)

    def prompting(self, settings: PromptConfig = DEFAULT_PROMPT) -> PromptConfig:
        """How its problems are put to a model: few-shot text for one without a chat template, else a chat.

        Settings that have examples or a style hold for every benchmark.
        """
        if settings.few_shot or settings.style != "auto":
            return settings
        return PromptConfig(
            style=self.prompt,
            instruction=settings.instruction,
            few_shot=self.few_shot,
            shots=self.shots,
            chat_shots=self.chat_shots,
        )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not self.few_shot and (self.shots or self.chat_shots):
            raise ValueError("shots need few_shot, the set of examples: add it, or set shots to 0")
        if self.prompt == "text" and not self.few_shot:
            raise ValueError("prompt text needs few_shot, the set of examples: add it")
        return self
