"""submit, schedule, rounds and rollback as a user calls them, against fakes of KFP and Kubernetes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

import mathloop
from mathloop.cluster.inference_services import services_of
from mathloop.registry import Champion, Registry
from mathloop.settings import resolve
from mathloop.settings.pools import DeploymentConfig
from mathloop.storage import open_store
from pipelines.cli import app
from pipelines.cluster.uploading import Request, parameters_of, settings_of
from pipelines.compiling import compile_one
from pipelines.profile import load_profile
from pipelines.table import PIPELINES, find_pipeline
from tests.fake_cluster import TOKEN, FakeCluster
from tests.fake_kfp import TYPES
from tests.fake_kserve import KServe
from tests.paths import ROOT
from tests.pipelines.cluster_calls import Run, done, refused

pytestmark = pytest.mark.slow


def test_submit_twice_is_one_version_and_two_runs(fake: FakeCluster, call: Run) -> None:
    first = done(call("submit", "--profile", "gpu", "--seed", "7", "--set", "grpo.steps=3"))
    second = done(call("submit", "--profile", "gpu"))
    assert (len(fake.kfp.pipelines), len(fake.kfp.versions), len(fake.kfp.runs)) == (1, 1, 2)
    (version,) = fake.kfp.versions.values()
    (pipeline,) = fake.kfp.pipelines.values()
    assert pipeline["display_name"] == "improvement-round-gpu"
    assert f"new version {version['display_name']}" in first
    assert f", version {version['display_name']}" in second
    run, other = fake.kfp.runs.values()
    assert run["pipeline_version_reference"]["pipeline_version_id"] == version["pipeline_version_id"]
    assert re.fullmatch(rf"gpu-{re.escape(mathloop.__version__)}-[0-9a-f]{{7}}", version["display_name"])
    # KFP's lists and pages show descriptions and cut long names at the end.
    assert pipeline["description"].endswith("and promotes the result if it is better. Profile gpu.")
    assert version["description"] == f"gpu: {load_profile('gpu').description}"
    assert run["description"] == "improvement-round with profile gpu, grpo.steps=3"
    assert other["description"] == "improvement-round with profile gpu"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d gpu", run["display_name"])
    # What was set travels with the run, beside all other parameters: a run's page shows what was sent.
    usual = {"store": "s3://mathloop/store", "problems": "", "serve": "no"}
    changed = '{"grpo": {"steps": 3}}'
    assert run["runtime_config"]["parameters"] == {**usual, "seed": 7, "overrides": changed}
    assert other["runtime_config"]["parameters"] == {**usual, "seed": 0, "overrides": "{}"}
    assert f"/#/runs/details/{run['run_id']}" in first
    assert "kubectl port-forward" in first


def test_a_changed_pool_is_a_new_version_and_other_profiles_have_pipelines_of_their_own(
    fake: FakeCluster, call: Run
) -> None:
    done(call("submit", "--profile", "gpu"))
    done(call("submit", "--profile", "gpu", "--set", "pools.sampler.gpus=2"))
    done(call("submit", "--profile", "laptop", "--pipeline", "pretraining"))
    done(call("submit", "--profile", "gpu", MATHLOOP_CODE_VERSION="another"))
    names = sorted(row["display_name"] for row in fake.kfp.pipelines.values())
    assert names == ["improvement-round-gpu", "pretraining-laptop"]
    assert len(fake.kfp.versions) == 4
    assert any("value: another" in row["text"] for row in fake.kfp.versions.values())


def test_only_what_differs_from_the_compiled_profile_is_sent_as_overrides(
    fake: FakeCluster, call: Run
) -> None:
    """Pools are compiled in, and the seed is a parameter of its own."""
    sets = [
        "tir.temperatures=[0.5]",
        "cot.sampling.max_tokens=99",
        "seed=4",
        "pools.control.cpu=2",
        "grpo.lora.rank=8",
    ]
    done(call("submit", "--profile", "gpu", *(part for text in sets for part in ("--set", text))))
    (run,) = fake.kfp.runs.values()
    parameters = run["runtime_config"]["parameters"]
    overrides = json.loads(parameters["overrides"])
    lora = overrides["grpo"].pop("lora")
    assert overrides == {"tir": {"temperatures": [0.5]}, "cot": {"sampling": {"max_tokens": 99}}, "grpo": {}}
    assert lora["rank"] == 8
    assert parameters["seed"] == 4
    # The first stage makes of both what was asked for.
    compiled = load_profile("gpu", ["pools.control.cpu=2"])
    asked = load_profile("gpu", sets)
    ran = resolve(compiled.model_dump_json(), parameters["overrides"])
    assert ran == asked.model_copy(update={"seed": compiled.seed})


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_every_parameter_of_every_pipeline_is_sent(pipeline: str, tmp_path: Path) -> None:
    """KFP's pages of a run show what was sent, and a clone of it has nothing else in its form."""
    component, path = find_pipeline(pipeline), tmp_path / "ir.yaml"
    settings, base = settings_of("tiny", ["grpo.steps=3"])
    compile_one(component, path, base)
    document = next(iter(yaml.safe_load_all(path.read_text())))
    taken = document["root"]["inputDefinitions"]["parameters"]
    request = Request(pipeline, "tiny", ["grpo.steps=3"], None, False)
    sent = parameters_of(request, component, settings, base, recurring=False)
    assert set(sent) == set(taken)
    for name, value in sent.items():
        assert isinstance(value, TYPES[taken[name]["parameterType"]])


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("problems/gsm8k.jsonl", "s3://other/store/problems/gsm8k.jsonl"),
        ("s3://data/gsm8k/train.parquet", "s3://data/gsm8k/train.parquet"),
    ],
)
@pytest.mark.parametrize("command", ["submit", "schedule --cron @"])
def test_problems_are_a_file_that_pods_can_read(
    fake: FakeCluster, call: Run, given: str, sent: str, command: str
) -> None:
    words = ["0 2 * * *" if word == "@" else word for word in command.split()]
    done(call(*words, "--problems", given, "--set", "store=s3://other/store"))
    (row,) = fake.kfp.runs.values() or fake.kfp.recurring.values()
    parameters = row["runtime_config"]["parameters"]
    assert (parameters["problems"], parameters["store"]) == (sent, "s3://other/store")


def test_problems_of_this_machine_are_refused_with_what_to_do(
    fake: FakeCluster, call: Run, tmp_path: Path
) -> None:
    (tmp_path / "mine.jsonl").write_text("")
    for given in ("mine.jsonl", "./other.jsonl", str(tmp_path / "mine.jsonl")):
        line = refused(call("submit", "--problems", given))
        name = Path(given).name
        assert f"`aws s3 cp {given} s3://mathloop/store/problems/{name}`" in line
        assert f"pass --problems s3://mathloop/store/problems/{name}" in line
    assert not fake.kfp.runs


def test_submit_by_host_and_serve(fake: FakeCluster, call: Run) -> None:
    shown = done(call("submit", "--host", fake.url, "--serve", KUBECONFIG="/absent"))
    assert f"{fake.url}/#/runs/details/" in shown
    (run,) = fake.kfp.runs.values()
    assert run["runtime_config"]["parameters"]["serve"] == "yes"


@pytest.fixture
def line(s3: Any) -> tuple[str, Registry]:
    """A store with champions 0, 1 and 2."""
    import tempfile
    import uuid

    url = f"s3://mathloop/test-{uuid.uuid4().hex}"
    store = open_store(url)
    registry, last = Registry(store), None
    with tempfile.TemporaryDirectory() as folder:
        for number in range(3):
            for model in ("policy", "reward_model"):
                path = Path(folder, f"{number}-{model}")
                path.write_text(f"{number} {model}")
                store.publish(path, f"rounds/r{number}/{model}")
            last = registry.promote(
                f"rounds/r{number}/policy",
                f"rounds/r{number}/reward_model",
                round_id=f"r{number}",
                expected=last,
                base="rounds/r0/policy",
                metrics={"greedy": 0.5 + number / 10},
            )
    return url, registry


def test_rounds_lists_runs_and_champions(fake: FakeCluster, call: Run, line: tuple[str, Registry]) -> None:
    assert "no runs; start one with: mathloop submit" in done(call("rounds", "--store", line[0]))
    done(call("submit", "--profile", "gpu"))
    (run,) = fake.kfp.runs.values()
    run["state"] = "SUCCEEDED"
    shown = done(call("rounds", "--store", line[0])).splitlines()
    assert "SUCCEEDED" in shown[0]
    assert run["run_id"] in shown[0]
    champions = [row.split() for row in shown if row.strip()[:1].isdigit() and " r" in row]
    assert [(row[0], row[2], row[4]) for row in champions] == [
        ("0", "r0", "0.5"), ("1", "r1", "0.6"), ("2", "r2", "0.7"),
    ]  # fmt: skip
    found = call("rounds", "--store", line[0], KUBECONFIG="none")
    assert (found.returncode, found.stderr.partition(" (")[0]) == (0, "no cluster")
    alone = found.stdout.splitlines()
    assert alone == shown[-len(alone) :], "the store says the same with and without a cluster"
    assert len(alone) == len(shown) - 2


def test_rollback_is_a_new_entry_with_the_old_models(call: Run, line: tuple[str, Registry]) -> None:
    url, registry = line
    done(call("rollback", "--store", url))
    assert _now(registry) == (3, "rounds/r1/policy", 2)
    done(call("rollback", "--store", url, "--to", "0"))
    assert _now(registry) == (4, "rounds/r0/policy", 3)
    assert "already has the models of 0" in refused(call("rollback", "--store", url, "--to", "0"))
    assert "no champion 9; there are 0 to 4" in refused(call("rollback", "--store", url, "--to", "9"))
    assert len(registry.history()) == 5


def _now(registry: Registry) -> tuple[int, str, int | None]:
    champion = registry.current()
    assert isinstance(champion, Champion)
    return champion.number, champion.policy, champion.parent


def test_rollback_serves_the_old_models_through_the_api_servers_proxy(
    fake: FakeCluster, call: Run, line: tuple[str, Registry]
) -> None:
    """The second one goes back to what still runs: nothing is created."""
    kserve = KServe(fake)
    serve = ("rollback", "--store", line[0], "--serve", "--profile", "gpu")
    shown = done(call(*serve))
    assert "champion 3 is served at http://mathloop.mathloop.svc.cluster.local" in shown
    policy = fake.find("inferenceservices", "mathloop-policy-c3")
    assert policy is not None
    assert policy["spec"]["predictor"]["model"]["storageUri"] == f"{line[0]}/rounds/r1/policy"
    done(call(*serve, "--to", "2"))
    shown = done(call(*serve, "--to", "1"))
    assert "created" not in shown
    assert "champion 5 is served" in shown
    assert kserve.selected == ["mathloop-solver-c3", "mathloop-solver-c4", "mathloop-solver-c3"]
    assert kserve.outages == []


@pytest.mark.parametrize("command", ["submit", "rounds", "schedule --list", "schedule --cron '0 2 * * *'"])
def test_what_keeps_kfp_away_is_one_line(fake: FakeCluster, call: Run, command: str) -> None:
    import shlex

    words = shlex.split(command)
    fake.kfp.status = 403
    assert "no permission to" in refused(call(*words))
    fake.kfp.status = 500
    assert "HTTP 500" in refused(call(*words))
    fake.kfp = None
    assert f"no Kubeflow Pipelines in kubeflow of {fake.url}: install" in refused(call(*words))
    assert "no kubeconfig" in refused(call(*words, KUBECONFIG="/absent"))
    assert "no Kubeflow Pipelines at http://127.0.0.1:9" in refused(
        call(*words, "--host", "http://127.0.0.1:9")
    )
    assert "expected http://host:port" in refused(call(*words, "--host", "localhost:8080"))
    fake.down = True
    assert "has no ready pod: kubectl get pods -n kubeflow" in refused(call(*words))
    fake.close()
    assert "no Kubernetes API server" in refused(call(*words))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["submit", "--profile", "gpo"], "no profile 'gpo', did you mean 'gpu'"),
        (["submit", "--set", "pools.smapler.gpus=1"], "no such field, did you mean 'sampler'"),
        (
            ["submit", "--profile", "gpu", "--set", "pools.control.nodes=2"],
            "only trainer and sampler span nodes",
        ),
        (["submit", "--profile", "gpu", "--set", "pools.sampler.accelerator="], "needs accelerator"),
        (
            ["submit", "--set", "cot.sampling.engine=vllm", "--set", "tir.sampling.engine=vllm"],
            "cot.sampling.engine, tir.sampling.engine: vllm needs GPUs, and pools.sampler has none: set",
        ),
        (
            ["submit", "--set", "grpo.sampling.engine=vllm"],
            "vllm needs GPUs, and pools.trainer has none: set",
        ),
        (["submit", "--pipeline", "round"], "no pipeline 'round'; known: improvement-round"),
        (["submit", "--pipeline", "evalution"], "no pipeline 'evalution', did you mean 'evaluation'"),
        (["submit", "--set", "grop.steps=1"], "--set grop.steps=1: no such field, did you mean 'grpo'"),
        (["submit", "--set", "pools.serving.replicas=2"], "is now the section deployment"),
        (["submit", "--pipeline", "pretraining", "--serve"], "pipeline pretraining takes no serve"),
        (["submit", "--problems", "file:///tmp/a.jsonl"], "expected a path in s3://mathloop/store, or s3://"),
        (["submit", "--problems", "s3://data/a.txt"], "expected a name that ends in .jsonl, .parquet, .json"),
        (
            ["submit", "--problems", "s3://a/b.jsonl", "--pipeline", "pretraining"],
            "takes no problems; remove",
        ),
        (["schedule", "--cron", "nightly"], "expected five or six fields"),
        (["schedule", "--cron", "0 2 * * ;"], "expected five or six fields"),
        (["schedule"], "give one of --cron, --list and --delete"),
        (["schedule", "--list", "--delete"], "give one of --cron, --list and --delete"),
        (["rollback", "--store", "s3://mathloop/x"], "MATHLOOP_S3_ENDPOINT is not set"),
        (["doctor", "--profile", "gpu"], "doctor takes --profile only together with --cluster"),
        (["compile", "--out", "x", "--set", "grpo.steps=1"], "give one with --profile"),
        (["compile", "--out", "x", "--profile", "nope"], "no profile 'nope'"),
    ],
)
def test_a_mistake_is_one_line(call: Run, arguments: list[str], said: str) -> None:
    assert said in refused(call(*arguments, MATHLOOP_S3_ENDPOINT=""))


def test_an_s3_endpoint_that_is_not_there_is_one_line(call: Run) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "secret-that-no-message-may-hold"}
    line = refused(call("rollback", MATHLOOP_S3_ENDPOINT="http://127.0.0.1:9", **keys))
    assert "no S3 server at http://127.0.0.1:9 (connection refused)" in line
    assert "secret" not in line


def test_a_multi_user_kubeflow_wants_a_namespace(fake: FakeCluster, call: Run) -> None:
    fake.kfp.multi_user = True
    assert "pass your Kubeflow profile's namespace with --namespace" in refused(call("submit"))
    done(call("submit", "--namespace", "ann"))
    (experiment,) = fake.kfp.experiments.values()
    assert experiment["namespace"] == "ann"


@pytest.mark.parametrize("vllm", [True, False])
@pytest.mark.parametrize("mode", ["Standard", "Knative"])
def test_the_solver_is_called_as_its_command_wants(mode: str, vllm: bool) -> None:
    """Its image runs `mathloop serve` with the arguments of its InferenceService."""
    champion = Champion(3, "rounds/r/policy", "rounds/r/reward_model", "base", "r", 2, {}, "")
    config = DeploymentConfig.model_validate({"mode": mode, "vllm": vllm})
    solver = services_of(champion, "s3://mathloop/store", config, "c3")[-1].predictor
    command: Any = get_command(app).commands["serve"]  # type: ignore[attr-defined]
    context = command.make_context("serve", [], resilient_parsing=True)
    context.resilient_parsing = False
    given, left, _ = command.make_parser(context).parse_args(list(solver["model"]["args"]))
    assert left == []
    models = {"policy_url", "reward_model_url", "wait"} if vllm else {"model", "reward_model"}
    assert set(given) == {"host", "deadline", *models}


def test_what_is_uploaded_holds_no_secret_and_nothing_of_this_machine(
    fake: FakeCluster, call: Run, tmp_path: Path
) -> None:
    done(call("submit", "--profile", "smollm", AWS_SECRET_ACCESS_KEY="secret-that-no-message-may-hold"))
    (version,) = fake.kfp.versions.values()
    for part in ("secret-that", TOKEN, str(tmp_path), str(ROOT)):
        assert part not in version["text"]
    documents = list(yaml.safe_load_all(version["text"]))
    assert documents[0]["pipelineInfo"]["name"] == "improvement-round"
