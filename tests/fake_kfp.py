"""A fake of Kubeflow Pipelines' v2beta1 API, in its HTTP form, for the real `kfp` client.

It knows what our commands use, and is as strict as the real one where that matters: a run's parameters must
be those of the version's IR, of its types, and all that have no default must be given.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import yaml

from tests.fake_cluster import Refusal

TYPES = {"STRING": str, "NUMBER_INTEGER": (int, float), "BOOLEAN": bool, "STRUCT": dict, "LIST": list}

Row = dict[str, Any]


@dataclass
class FakeKfp:
    """Pipelines, their versions, experiments, runs and recurring runs, each by its id."""

    multi_user: bool = False
    pipelines: dict[str, Row] = field(default_factory=dict)
    versions: dict[str, Row] = field(default_factory=dict)
    experiments: dict[str, Row] = field(default_factory=dict)
    runs: dict[str, Row] = field(default_factory=dict)
    recurring: dict[str, Row] = field(default_factory=dict)
    status: int = 200
    """Of every answer but health's."""

    def handle(self, method: str, path: str, query: dict[str, str], raw: bytes, headers: Any) -> Any:
        import json

        rest = path.removeprefix("/apis/v2beta1/")
        if rest == "healthz":
            return {"multi_user": self.multi_user}
        if self.status != 200:
            raise Refusal(self.status, "Refused", "token-that-no-message-may-hold")
        if rest == "pipelines/upload_version":
            return self._upload(query, raw, headers["Content-Type"])
        body = json.loads(raw) if raw else {}
        if found := re.fullmatch(r"pipelines/([^/]+)/versions", rest):
            rows = [row for row in self.versions.values() if row["pipeline_id"] == found[1]]
            return _page("pipeline_versions", rows, query)
        if rest == "pipelines":
            return self._kind(method, self.pipelines, "pipelines", "pipeline_id", query, body)
        if rest == "experiments":
            return self._kind(method, self.experiments, "experiments", "experiment_id", query, body)
        if rest == "runs":
            if method == "POST":
                self._check(body)
            return self._kind(method, self.runs, "runs", "run_id", query, body)
        if rest == "recurringruns":
            if method == "POST":
                self._check(body)
                assert body["mode"] == "ENABLE"
                body["status"] = "ENABLED"
            return self._kind(method, self.recurring, "recurringRuns", "recurring_run_id", query, body)
        if method == "DELETE" and (found := re.fullmatch(r"recurringruns/([^/]+)", rest)):
            del self.recurring[found[1]]
            return {}
        raise Refusal(404, "NotFound", rest)

    def _kind(
        self, method: str, rows: dict[str, Row], name: str, key: str, query: dict[str, str], body: Row
    ) -> Any:
        if method == "POST":
            row = {**body, key: str(uuid.uuid4()), "created_at": datetime.now(UTC).isoformat()}
            rows[row[key]] = row
            return row
        import json

        chosen = list(rows.values())
        for predicate in json.loads(query.get("filter") or "{}").get("predicates", []):
            wanted = predicate.get("stringValue", predicate.get("string_value"))
            chosen = [row for row in chosen if row[predicate["key"]] == wanted]
        if "experiment_id" in query:
            chosen = [row for row in chosen if row["experiment_id"] == query["experiment_id"]]
        return _page(name, chosen, query)

    def _upload(self, query: dict[str, str], raw: bytes, content_type: str) -> Row:
        boundary = content_type.partition("boundary=")[2].encode()
        part = raw.split(b"--" + boundary)[1].partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")
        spec = next(iter(yaml.safe_load_all(part)))
        named = [row["display_name"] for row in self.versions.values()]
        if query["name"] in named:
            raise Refusal(409, "AlreadyExists", "a version of this name")
        row = {
            "pipeline_id": query["pipelineid"],
            "pipeline_version_id": str(uuid.uuid4()),
            "display_name": query["name"],
            "pipeline_spec": spec,
            "text": part.decode(),
        }
        self.versions[row["pipeline_version_id"]] = row
        return {key: value for key, value in row.items() if key != "text"}

    def _check(self, body: Row) -> None:
        """Refuses parameters that the version (the newest, where none is named) does not take."""
        reference = body["pipeline_version_reference"]
        of_pipeline = [
            row for row in self.versions.values() if row["pipeline_id"] == reference["pipeline_id"]
        ]
        version = self.versions.get(reference.get("pipeline_version_id", ""), of_pipeline[-1])
        taken = version["pipeline_spec"]["root"]["inputDefinitions"]["parameters"]
        given = (body.get("runtime_config") or {}).get("parameters") or {}
        for name, value in given.items():
            if name not in taken or not isinstance(value, TYPES[taken[name]["parameterType"]]):
                raise Refusal(400, "InvalidArgument", f"parameter {name}")
        for name, parameter in taken.items():
            if name not in given and "defaultValue" not in parameter and not parameter.get("isOptional"):
                raise Refusal(400, "InvalidArgument", f"parameter {name} is missing")


def _page(name: str, rows: list[Row], query: dict[str, str]) -> Row:
    size, begin = int(query.get("page_size") or 20), int(query.get("page_token") or 0)
    answer: Row = {
        name: [{k: v for k, v in row.items() if k != "text"} for row in rows[begin : begin + size]]
    }
    if begin + size < len(rows):
        answer["next_page_token"] = str(begin + size)
    return answer
