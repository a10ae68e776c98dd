"""Every loss against a slow, obvious version of its formula."""

import math

import pytest
import torch

from mathloop.training.losses import (
    group_advantages,
    grpo_loss,
    listwise_reward_loss,
    shaped_reward,
    token_logprobs,
)


@pytest.mark.parametrize("seed", range(5))
def test_listwise_reward_loss_is_the_mean_over_pairs_then_problems(seed: int) -> None:
    torch.manual_seed(seed)
    scores = torch.randn(18, dtype=torch.float64, requires_grad=True)
    right, problem = torch.rand(18) < 0.5, torch.arange(18) // 6
    right[12:] = True  # a problem without a pair does not count
    right[0], right[1] = True, False
    expected = []
    for p in range(3):
        pairs = [
            -torch.nn.functional.logsigmoid(scores[i] - scores[j])
            for i in range(18)
            for j in range(18)
            if problem[i] == problem[j] == p and right[i] and not right[j]
        ]
        if pairs:
            expected.append(sum(pairs) / len(pairs))
    reference = sum(expected) / len(expected)
    loss = listwise_reward_loss(scores, right, problem)
    assert torch.allclose(loss, reference, atol=1e-12)
    (ours,) = torch.autograd.grad(loss, scores, retain_graph=True)
    (theirs,) = torch.autograd.grad(reference, scores)
    assert torch.allclose(ours, theirs, atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_grpo_loss_is_a_mean_over_tokens_then_responses(seed: int) -> None:
    torch.manual_seed(seed)
    new = torch.randn(6, 9, dtype=torch.float64, requires_grad=True)
    old, anchor = (new.detach() + 0.3 * torch.randn(6, 9, dtype=torch.float64) for _ in range(2))
    advantages, mask = torch.randn(6, dtype=torch.float64), (torch.rand(6, 9) < 0.7).double()
    mask[:, 0] = 1
    loss, divergence = grpo_loss(new, old, anchor, advantages, mask, clip=0.2, beta=0.05)
    total, kls = 0.0, 0.0
    for i in range(6):
        gain, kl = 0.0, 0.0
        for t in range(9):
            if mask[i, t]:
                ratio = math.exp(new[i, t] - old[i, t])
                clipped = min(max(ratio, 0.8), 1.2)
                gap = float(anchor[i, t] - new[i, t])
                term = math.exp(gap) - gap - 1
                gain += min(ratio * float(advantages[i]), clipped * float(advantages[i])) - 0.05 * term
                kl += term
        total += gain / float(mask[i].sum())
        kls += kl / float(mask[i].sum())
    assert float(loss) == pytest.approx(-total / 6, abs=1e-9)
    assert float(divergence) == pytest.approx(kls / 6, abs=1e-9)


def test_masked_tokens_have_no_gradient() -> None:
    new = torch.randn(2, 5, requires_grad=True)
    mask = torch.tensor([[1.0, 0, 0, 1, 1], [1, 1, 0, 0, 1]])
    loss, _ = grpo_loss(new, new.detach(), new.detach(), torch.tensor([1.0, -1.0]), mask, clip=0.2, beta=0.1)
    loss.backward()
    assert torch.equal(new.grad != 0, mask.bool())


def test_a_group_with_no_spread_teaches_nothing() -> None:
    rewards = torch.tensor([[0.3, 0.3, 0.3], [0.0, 0.5, 1.0]])
    advantages = group_advantages(rewards)
    assert torch.equal(advantages[0], torch.zeros(3))
    assert torch.allclose(advantages[1], torch.tensor([-1.0, 0.0, 1.0]))


def test_every_right_answer_outranks_every_wrong_one() -> None:
    rewards = shaped_reward(torch.tensor([-30.0, 30.0, 0.0]), torch.tensor([1.0, 0.0, 0.0]))
    assert rewards[0] > -1e-6 >= rewards[1] - 1e-6 > rewards[2]


def test_token_logprobs_are_those_of_the_next_token() -> None:
    logits, tokens = torch.randn(2, 4, 7), torch.randint(0, 7, (2, 4))
    expected = torch.log_softmax(logits, -1)[:, :-1].gather(-1, tokens[:, 1:, None])[..., 0]
    assert torch.allclose(token_logprobs(logits, tokens), expected, atol=1e-6)
