"""Functions at the end of a network that do not change which score is the largest; the chip reads the scores in front of them."""

from __future__ import annotations

import torch
from torch import Tensor

from neurofault.convert.tracing import Operation, kind_of
from neurofault.errors import ConversionError

_MONOTONE = ("Softmax", "LogSoftmax", "Sigmoid", "LogSigmoid", "Tanh", "softmax", "log_softmax", "sigmoid", "logsigmoid", "tanh")

_ROUNDING = 1e-6
"""Of the largest answer: what float32 may turn round."""


def without_ending(operations: list[Operation]) -> tuple[list[Operation], Operation | None]:
    """Return operations without a function at their end that leaves the order of a sample's scores as it is, and that function.

    Raises:
        ConversionError: it changes the order, or stands behind a single score.
    """
    if not operations or kind_of(operations[-1]) not in _MONOTONE:
        return operations, None
    last = operations[-1]
    if last.given is not None and last.returned is not None:
        scores, answers = last.given.flatten(1), last.returned.flatten(1)
        if scores.shape[1] == 1:
            raise ConversionError(
                f"layer {last.name!r}: {kind_of(last)} of one score; the largest of one score is always the same: make the last layer's rows w and −w two outputs"
            )
        if answers.shape != scores.shape or not same_order(scores, answers):
            raise ConversionError(
                f"layer {last.name!r}: {kind_of(last)} changes the order of a sample's scores; is its dim the classes? Remove it"
            )
    return operations[:-1], last


def same_order(scores: Tensor, answers: Tensor) -> bool:
    """Return whether no pair of a sample's scores stands the other way round in its answers, both [N, n]."""
    order = scores.argsort(dim=1)
    steps = answers.gather(1, order).double().diff(dim=1)
    level = scores.gather(1, order).diff(dim=1) == 0  # equal scores have no order
    slack = _ROUNDING * float(answers.abs().max()) if answers.numel() else 0.0
    return bool(torch.all((steps >= -slack) | level))
