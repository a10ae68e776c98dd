"""The OpenAPI document of the solver's routes, at /openapi.json; KServe's own would show closed routes."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from mathloop.serving.config import MODEL
from mathloop.serving.guard import CHAT, INFER, KSERVE_ROOT, PREDICT
from mathloop.serving.messages import ROLES
from mathloop.serving.predict import CHAT_ONLY, MOST
from mathloop.serving.questions import IGNORED, LONGEST_STOP, MOST_STOPS, UNSUPPORTED, strategies
from mathloop.serving.solver import Solver
from mathloop.serving.token_logprobs import MOST_LIKELIEST

Schema = dict[str, Any]
_TEXT: Schema = {"type": "string"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_NUMBER: Schema = {"type": "number"}
_FLAG: Schema = {"type": "boolean"}
STREAM_OPTIONS = ("include_usage", "include_progress")
_STATUSES = {
    400: "The body is not JSON, a field is unknown or unsupported, or the problem does not fit the context.",
    401: "No key, or a wrong one.",
    404: "Another model.",
    408: "The body did not arrive in time.",
    413: "The body is too large.",
    415: "The body is not application/json.",
    422: "A value is invalid.",
    429: "The queue is full.",
    500: "An error in the server.",
    503: "A model is unavailable.",
    504: "No answer within the deadline.",
}


def describe_api(solver: Solver) -> Schema:
    """The document for this server: its strategies, modes and bounds."""
    models = {
        "get": {
            "summary": "The model, with its strategies and modes",
            "responses": {"200": _json("The list of models", _object({"object": _TEXT, "data": _list({})}))},
        }
    }
    model = {
        "get": {
            "summary": "One model",
            "parameters": [{"name": "name", "in": "path", "required": True, "schema": {"const": MODEL}}],
            "responses": {"200": _json("The model", _object({"id": _TEXT})), "404": _error(404)},
        }
    }
    chat = {
        "post": {
            "summary": "Answers a problem with the best of several responses",
            "requestBody": {"required": True, "content": _content(_request(solver))},
            "responses": {
                "200": {
                    "description": "The answer; server-sent events with `stream`",
                    "content": {**_content(_completion()), "text/event-stream": {"schema": _TEXT}},
                },
                **{str(status): _error(status) for status in _STATUSES},
            },
        }
    }
    ready = {"200": _json("Ready", _object({"ready": {"const": True}}))}
    ready["503"] = _json("Not ready", _object({"ready": {"const": False}}))
    paths: Schema = {
        "/v2/health/ready": {"get": {"summary": "Readiness", "responses": ready, "security": []}}
    }
    for root in ("", KSERVE_ROOT):
        paths |= {f"{root}/v1/models": models, f"{root}/v1/models/{{name}}": model, f"{root}{CHAT}": chat}
    paths |= _kserve_paths(solver)
    return {
        "openapi": "3.1.0",
        "info": {"title": "mathloop's solver", "version": version("mathloop")},
        "paths": paths,
        "components": {"securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
        "security": [{"key": []}, {}],
    }


def _kserve_paths(solver: Solver) -> Schema:
    """V1 and V2; their refusals are a text, those of the server before its routes OpenAI's object."""
    chat = _request(solver)["properties"]
    options = {name: schema for name, schema in chat.items() if name not in CHAT_ONLY}
    problem = {"type": "object", "properties": {"problem": _TEXT, **options}, "required": ["problem"]}
    instances = {**_list({"anyOf": [_TEXT, problem]}), "minItems": 1, "maxItems": MOST}
    shape = {**_list(_COUNT), "minItems": 1, "maxItems": 2}
    tensor = _object({"name": _TEXT, "datatype": {"const": "BYTES"}, "shape": shape, "data": _list(_TEXT)})
    inputs = {**_list(tensor), "minItems": 1, "maxItems": 1}
    infer = {
        "type": "object",
        "properties": {
            "id": _TEXT,
            "inputs": inputs,
            "parameters": {"type": "object", "properties": options},
        },
        "required": ["inputs"],
    }
    output = _object({"name": _TEXT, "datatype": _TEXT, "shape": shape, "data": {"type": "array"}})
    replies = {
        PREDICT: ("KServe's protocol V1", _object({"instances": instances}), {"predictions": _list({})}),
        INFER: ("KServe's protocol V2", infer, {"model_name": _TEXT, "outputs": _list(output)}),
    }
    error = _object({"error": {"anyOf": [_TEXT, {"type": "object"}]}})
    return {
        path: {
            "post": {
                "summary": summary,
                "requestBody": {"required": True, "content": _content(body)},
                "responses": {
                    "200": _json("The answers, in order", _object(reply)),
                    **{str(status): _json(said, error) for status, said in _STATUSES.items()},
                },
            }
        }
        for path, (summary, body, reply) in replies.items()
    }


def _request(solver: Solver) -> Schema:
    most = solver.config.most_samples
    part = _object({"type": {"const": "text"}, "text": _TEXT})
    message = _object({"role": {"enum": list(ROLES)}, "content": {"anyOf": [_TEXT, _list(part)]}})
    stop = {"type": "string", "maxLength": LONGEST_STOP}
    tokens = {"type": "integer", "minimum": 1, "maximum": 2**20}
    fields: dict[str, Schema] = {
        "model": {"const": MODEL},
        "messages": {**_list(message), "minItems": 1, "description": "The last one is the problem."},
        "stream": {"type": "boolean"},
        "stream_options": {"type": "object", "properties": dict.fromkeys(STREAM_OPTIONS, _FLAG)},
        "n": {"type": "integer", "minimum": 1, "maximum": most, "description": "Choices, the best first."},
        "temperature": {"type": "number", "minimum": 0, "maximum": 2},
        "top_p": {"type": "number", "minimum": 1e-6, "maximum": 1},
        "seed": {"type": "integer"},
        "max_tokens": tokens,
        "max_completion_tokens": tokens,
        "stop": {"anyOf": [stop, {**_list(stop), "maxItems": MOST_STOPS}]},
        "logprobs": _FLAG,
        "top_logprobs": {"type": "integer", "minimum": 0, "maximum": MOST_LIKELIEST},
        "strategy": {"enum": strategies(solver.engine.has_reward_model)},
        "samples": {"type": "integer", "minimum": 1, "maximum": most},
        "adaptive": {"type": "boolean", "description": "Stop drawing once the vote is settled."},
        "mode": {"enum": list(solver.engine.modes)},
    }
    fields |= {name: {"enum": list(values)} for name, values in UNSUPPORTED.items()}
    fields |= {name: {"description": "Ignored, and listed in `mathloop.ignored`."} for name in IGNORED}
    nullable = {name: {"anyOf": [schema, {"type": "null"}]} for name, schema in fields.items()}
    nullable["messages"] = fields["messages"]
    return {
        "type": "object",
        "properties": nullable,
        "required": ["messages"],
        "additionalProperties": {"type": "null"},
    }


def _completion() -> Schema:
    message = _object({"role": {"const": "assistant"}, "content": _TEXT, "refusal": {"type": "null"}})
    finish = {"enum": ["stop", "length"]}
    logprobs = {"type": ["object", "null"]}
    choice = _object({"index": _COUNT, "message": message, "logprobs": logprobs, "finish_reason": finish})
    answer = {"type": ["string", "null"]}
    score = {"type": ["number", "null"]}
    candidate = _object(
        {
            "answer": answer,
            "votes": _COUNT,
            "weighted_votes": score,
            "reward": score,
            "samples": _COUNT,
            "best": _COUNT,
            "responses": _list(_COUNT),
            "finish_reason": _TEXT,
            "text": _TEXT,
        }
    )
    extension = {
        "answer": answer,
        "reason": _TEXT,
        "strategy": _TEXT,
        "samples": _COUNT,
        "drawn": _COUNT,
        "mode": _TEXT,
        "temperature": _NUMBER,
        "seed": {"type": ["integer", "null"]},
        "answers_with": _TEXT,
        "ignored": _list(_TEXT),
        "degraded": _list(_TEXT),
        "candidates": _list(candidate),
        "seconds": {"type": "object", "additionalProperties": _NUMBER},
    }
    usage = dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens"), _COUNT)
    return _object(
        {
            "id": _TEXT,
            "object": {"const": "chat.completion"},
            "created": _COUNT,
            "model": {"const": MODEL},
            "choices": _list(choice),
            "usage": _object(usage),
            "mathloop": _object(extension),
        }
    )


def _error(status: int) -> Schema:
    text = {"type": ["string", "null"]}
    error = _object({"message": _TEXT, "type": _TEXT, "param": text, "code": text})
    return _json(_STATUSES[status], _object({"error": error}))


def _object(fields: dict[str, Schema]) -> Schema:
    return {"type": "object", "properties": fields, "required": list(fields)}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _content(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}


def _json(description: str, schema: Schema) -> Schema:
    return {"description": description, "content": _content(schema)}
