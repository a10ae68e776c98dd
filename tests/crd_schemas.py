"""The CRDs' OpenAPI schemas, applied as a strict API server does: unknown fields are refused."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from tests.paths import SHARED_DATA

CRDS = SHARED_DATA / "crds"
METADATA = {
    "name", "namespace", "labels", "annotations", "uid", "resourceVersion", "generation",
    "creationTimestamp", "deletionTimestamp", "ownerReferences", "finalizers",
}  # fmt: skip
KINDS: dict[str, Any] = {"string": str, "integer": int, "boolean": bool, "object": dict, "array": list}
KINDS["number"] = (int, float)


@functools.cache
def schema_of(api_version: str, kind: str) -> dict[str, Any]:
    """The schema; skips the test where the CRDs are not beside the checkout."""
    if not CRDS.is_dir():
        pytest.skip(f"no CRDs in {CRDS.name}/: nothing to validate against")
    group, _, version = api_version.partition("/")
    for path in sorted(CRDS.glob("*.yaml")):
        for crd in yaml.load_all(path.read_text(encoding="utf-8"), yaml.CSafeLoader):  # 20 s faster
            spec = (crd or {}).get("spec", {})
            if spec.get("group") == group and spec["names"]["kind"] == kind:
                for served in spec["versions"]:
                    if served["name"] == version:
                        schema: dict[str, Any] = served["schema"]["openAPIV3Schema"]
                        return schema
    raise LookupError(f"no CRD of {api_version} {kind} in {CRDS.name}/")


def has_schemas() -> bool:
    return CRDS.is_dir()


def problems(body: Mapping[str, Any]) -> list[str]:
    """What an API server would refuse in this object."""
    schema = schema_of(body["apiVersion"], body["kind"])
    found = [f"metadata.{name}: unknown field" for name in set(body["metadata"]) - METADATA]
    for key, value in body.items():
        if key in ("apiVersion", "kind", "metadata"):
            continue
        if key not in schema["properties"]:
            found.append(f"{key}: unknown field")
        else:
            found += _walk(value, schema["properties"][key], key)
    return found


def _walk(value: Any, schema: Mapping[str, Any], where: str) -> Iterator[str]:
    if schema.get("x-kubernetes-int-or-string"):
        if not isinstance(value, int | str) or not re.search(schema.get("pattern", ""), str(value)):
            yield f"{where}: {value!r} is no quantity"
        return
    kind = schema.get("type")
    if kind and (not isinstance(value, KINDS[kind]) or (isinstance(value, bool) and kind != "boolean")):
        yield f"{where}: expected {kind}, found {value!r}"
        return
    yield from _bounds(value, schema, where)
    if isinstance(value, dict):
        yield from _members(value, schema, where)
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _walk(item, schema.get("items", {}), f"{where}[{index}]")


def _members(value: Mapping[str, Any], schema: Mapping[str, Any], where: str) -> Iterator[str]:
    properties = schema.get("properties", {})
    others = schema.get("additionalProperties")
    yield from (f"{where}.{name}: missing" for name in schema.get("required", ()) if name not in value)
    for name, inner in value.items():
        if name in properties:
            yield from _walk(inner, properties[name], f"{where}.{name}")
        elif isinstance(others, dict):
            yield from _walk(inner, others, f"{where}.{name}")
        elif not others and not schema.get("x-kubernetes-preserve-unknown-fields"):
            yield f"{where}.{name}: unknown field"


def _bounds(value: Any, schema: Mapping[str, Any], where: str) -> Iterator[str]:
    if "enum" in schema and value not in schema["enum"]:
        yield f"{where}: {value!r} is none of {schema['enum']}"
    if isinstance(value, str):
        if not re.search(schema.get("pattern", ""), value):
            yield f"{where}: {value!r} does not match {schema['pattern']}"
        if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 1 << 30):
            yield f"{where}: {value!r} has a wrong length"
    if (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and not schema.get("minimum", value) <= value <= schema.get("maximum", value)
    ):
        yield f"{where}: {value} is out of bounds"
    if isinstance(value, list) and not schema.get("minItems", 0) <= len(value):
        yield f"{where}: too few items"
