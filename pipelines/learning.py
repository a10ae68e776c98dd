"""The nested pipeline of a round that trains its models and evaluates them."""

from typing import NamedTuple

from kfp import dsl

from components.evaluation import evaluation
from components.grpo import grpo
from components.reward_data import reward_data
from components.reward_model import reward_model
from components.selection import selection
from components.sft import sft
from pipelines.tracing import nested
from pipelines.training import add_sampling, add_training, model_of


class Learned(NamedTuple):
    challenger: dsl.Model
    reward_model: dsl.Model
    results: dsl.Dataset
    summary: dsl.Markdown


@nested("learning")
def learning(
    store: str,
    champion: str,
    seed: int,
    problems: dsl.Input[dsl.Dataset],
    benchmark: dsl.Input[dsl.Dataset],
    cot: dsl.Input[dsl.Dataset],
    tir: dsl.Input[dsl.Dataset],
    champion_policy: dsl.Input[dsl.Model],
    sft_settings: str,
    reward_data_settings: str,
    reward_model_settings: str,
    selection_settings: str,
    grpo_settings: str,
    benchmarks_settings: str,
    evaluation_settings: str,
) -> Learned:
    """SFT on the decontaminated responses, a reward model, GRPO, and the evaluation of every model.

    Args:
        store: Store with the base model; models of several training nodes are transferred through it.
        champion: The champion that the round started from, as JSON.
        seed: Seed of every stage.
        problems: The training problems, decontaminated.
        benchmark: The evaluation problems.
        cot: CoT responses to train on.
        tir: TIR responses to train on.
        champion_policy: The champion's policy.
        sft_settings: Settings of supervised fine-tuning as JSON.
        reward_data_settings: Settings of the reward model's training data as JSON.
        reward_model_settings: Settings of the reward model as JSON.
        selection_settings: Settings of the selection of problems as JSON.
        grpo_settings: Settings of GRPO as JSON.
        benchmarks_settings: Settings of the named benchmarks as JSON.
        evaluation_settings: Settings of the evaluation as JSON.
    """
    sft_task = add_training(
        sft,
        store=store,
        problems=problems,
        cot=cot,
        tir=tir,
        policy=champion_policy,
        settings=sft_settings,
        seed=seed,
    )
    sft_policy = model_of(sft_task)
    reward_data_task = add_sampling(
        reward_data,
        store=store,
        problems=problems,
        policy=sft_policy,
        champion_policy=champion_policy,
        settings=reward_data_settings,
        seed=seed,
    )
    reward_model_task = add_training(
        reward_model,
        store=store,
        problems=problems,
        responses=reward_data_task.outputs["responses"],
        policy=sft_policy,
        responses_summary=reward_data_task.outputs["summary"],
        settings=reward_model_settings,
        seed=seed,
    )
    selection_task = add_sampling(
        selection,
        store=store,
        problems=problems,
        policy=sft_policy,
        sft_summary=sft_task.outputs["summary"],
        settings=selection_settings,
        seed=seed,
    )
    grpo_task = add_training(
        grpo,
        store=store,
        problems=selection_task.outputs["selected"],
        policy=sft_policy,
        reward_model=model_of(reward_model_task),
        settings=grpo_settings,
        seed=seed,
    )
    summaries = {
        "reward_model": reward_model_task,
        "selection": selection_task,
        "grpo": grpo_task,
    }
    evaluation_task = add_sampling(
        evaluation,
        store=store,
        champion=champion,
        benchmark=benchmark,
        champion_policy=champion_policy,
        sft_policy=sft_policy,
        challenger=model_of(grpo_task),
        reward_model=model_of(reward_model_task),
        settings=evaluation_settings,
        benchmarks=benchmarks_settings,
        seed=seed,
        **{f"{name}_summary": task.outputs["summary"] for name, task in summaries.items()},
    )
    return Learned(
        challenger=model_of(grpo_task),
        reward_model=model_of(reward_model_task),
        results=evaluation_task.outputs["results"],
        summary=evaluation_task.outputs["summary"],
    )
