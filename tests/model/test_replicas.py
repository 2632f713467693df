"""A batch in parts gives the gradient and the batch statistics that its parts have."""

import torch
import torch.nn.functional as F

from model.network import TCResNet8
from model.replicas import PARTS, Replicas

ROWS = torch.arange(10)
FEATURES, TARGETS = torch.randn(10, 40, 21, generator=torch.Generator().manual_seed(1)), torch.eye(3)[ROWS % 3]


def network() -> TCResNet8:
    torch.manual_seed(0)
    return TCResNet8(3, width=0.5, dropout=0.0)


def test_the_gradient_is_that_of_the_parts_and_the_statistics_are_their_mean() -> None:
    inside, alone = network(), [network() for _ in range(PARTS)]
    replicas = Replicas(inside, threads=2)
    with replicas.at_work():
        replicas.begin_epoch(lambda part: part)
        passed = replicas.backward(ROWS, lambda rows, _: (FEATURES[rows], TARGETS[rows]), label_smoothing=0.1)
    losses = []
    for each, rows in zip(alone, ROWS.chunk(PARTS), strict=True):
        each.train()
        losses.append(F.cross_entropy(each(FEATURES[rows]), TARGETS[rows], label_smoothing=0.1, reduction="sum"))
        (losses[-1] / len(ROWS)).backward()
    torch.testing.assert_close(passed.loss, torch.stack(losses).sum())
    for mine, *theirs in zip(inside.parameters(), *(each.parameters() for each in alone), strict=True):
        torch.testing.assert_close(
            mine.grad, torch.stack([each.grad for each in theirs if each.grad is not None]).sum(0)
        )
    for mine, *theirs in zip(inside.buffers(), *(each.buffers() for each in alone), strict=True):
        torch.testing.assert_close(mine, torch.stack([each.double() for each in theirs]).mean(0).to(mine.dtype))


def test_a_batch_smaller_than_the_parts_is_one_part() -> None:
    inside = network()
    replicas = Replicas(inside, threads=2)
    with replicas.at_work():
        replicas.begin_epoch(lambda part: part)
        replicas.backward(ROWS[:1], lambda rows, _: (FEATURES[rows], TARGETS[rows]), label_smoothing=0.0)
        first = [parameter.grad.clone() for parameter in inside.parameters() if parameter.grad is not None]
        replicas.backward(ROWS, lambda rows, _: (FEATURES[rows], TARGETS[rows]), label_smoothing=0.0)
    assert len(first) == len(list(inside.parameters()))
    assert not any(
        parameter.grad is None or torch.equal(parameter.grad, old)
        for parameter, old in zip(inside.parameters(), first, strict=True)
    )


def test_the_parts_have_the_parameters_in_common() -> None:
    inside = network()
    replicas = Replicas(inside, threads=1)
    with torch.no_grad():
        for parameter in inside.parameters():
            parameter.zero_()
    with replicas.at_work():
        replicas.begin_epoch(lambda part: part)
        passed = replicas.backward(ROWS, lambda rows, _: (FEATURES[rows], TARGETS[rows]), label_smoothing=0.0)
    torch.testing.assert_close(passed.loss, len(ROWS) * torch.log(torch.tensor(3.0)))
