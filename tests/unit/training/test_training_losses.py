"""Every loss against a slow, obvious version of its formula."""

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


def test_without_a_pair_there_is_nothing_to_learn() -> None:
    scores = torch.randn(4, requires_grad=True)
    loss = listwise_reward_loss(scores, torch.tensor([True, True, False, False]), torch.tensor([0, 0, 1, 1]))
    loss.backward()
    assert loss.item() == 0.0
    assert torch.equal(scores.grad, torch.zeros(4))


@pytest.mark.parametrize("seed", range(5))
def test_grpo_loss_is_a_mean_over_tokens_then_responses(seed: int) -> None:
    torch.manual_seed(seed)
    new = torch.randn(6, 9, dtype=torch.float64, requires_grad=True)
    old, anchor = (new.detach() + 0.3 * torch.randn(6, 9, dtype=torch.float64) for _ in range(2))
    advantages, mask = torch.randn(6, dtype=torch.float64), (torch.rand(6, 9) < 0.7).double()
    mask[:, 0] = 1
    loss, divergence = grpo_loss(new, old, anchor, advantages, mask, clip=0.2, beta=0.05)
    gains, kls = [], []
    for i in range(6):
        gain, kl = [], []
        for t in range(9):
            if mask[i, t]:
                ratio = torch.exp(new[i, t] - old[i, t])
                clipped = min(max(ratio, torch.tensor(0.8)), torch.tensor(1.2))
                gap = anchor[i, t] - new[i, t]
                kl.append(torch.exp(gap) - gap - 1)
                gain.append(min(ratio * advantages[i], clipped * advantages[i]) - 0.05 * kl[-1])
        gains.append(sum(gain) / len(gain))
        kls.append(sum(kl) / len(kl))
    reference = -sum(gains) / 6
    assert torch.allclose(loss, reference, atol=1e-12)
    assert torch.allclose(divergence, sum(kls) / 6, atol=1e-12)
    (ours,) = torch.autograd.grad(loss, new)
    (theirs,) = torch.autograd.grad(reference, new)
    assert torch.allclose(ours, theirs, atol=1e-12)


def test_the_clip_takes_what_is_worse() -> None:
    # Ratio and advantage of one token each; both clips, and on both sides the case that is not clipped.
    ratio, advantages = torch.tensor([1.5, 0.5, 0.5, 1.5]), torch.tensor([1.0, -1.0, 1.0, -1.0])
    new = ratio.log().double()[:, None].requires_grad_()
    old = torch.zeros(4, 1, dtype=torch.float64)
    loss, _ = grpo_loss(new, old, old, advantages.double(), torch.ones(4, 1), clip=0.2, beta=0.0)
    assert loss.item() == pytest.approx(-(1.2 - 0.8 + 0.5 - 1.5) / 4)
    (gradient,) = torch.autograd.grad(loss, new)
    assert gradient[:, 0].tolist() == pytest.approx([0.0, 0.0, -0.5 / 4, 1.5 / 4])


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


@pytest.mark.parametrize("alpha", [0.1, 0.5, 1.0])
def test_every_right_answer_outranks_every_wrong_one(alpha: float) -> None:
    scores = torch.linspace(-15, 15, 61)
    right, wrong = (shaped_reward(scores, torch.full((61,), verdict), alpha) for verdict in (1.0, 0.0))
    assert right.min() > wrong.max()
    for rewards in (right, wrong):
        assert bool((rewards.diff() > 0).all())  # among equals the reward model decides
    assert right[30].item() == pytest.approx(0.5)
    assert wrong[30].item() == pytest.approx(-0.5)


def test_token_logprobs_are_those_of_the_next_token() -> None:
    logits, tokens = torch.randn(2, 4, 7), torch.randint(0, 7, (2, 4))
    expected = torch.log_softmax(logits, -1)[:, :-1].gather(-1, tokens[:, 1:, None])[..., 0]
    assert torch.allclose(token_logprobs(logits, tokens), expected, atol=1e-6)
