"""What cannot become spiking, and what would do in its place."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from neurofault.convert.tracing import KNOWN, Operation, kind_of
from neurofault.errors import ConversionError

ACCEPTED = "Linear, Conv1d, Conv2d, BatchNorm1d/2d, ReLU, ReLU6, Hardtanh, RateCurve, average and max pooling (adaptive too), sums, concatenations, Flatten, Dropout, Identity"

_RECURRENT = "spiking neurons that drive themselves (snnTorch's RLeaky or RSynaptic, read by from_snntorch)"
_PRODUCT = (
    "no attention: it multiplies activations with each other, and spikes only add; use convolutions or Linear layers with ReLU"
)
_NORM = "BatchNorm1d or BatchNorm2d, whose statistics are fixed after training"
_NOTHING = "nothing: the largest score is read without it, so remove it"

_REPLACEMENTS: Mapping[str, str] = {
    **dict.fromkeys(
        ("Sigmoid", "Tanh", "GELU", "SiLU", "ELU", "SELU", "CELU", "Mish", "Softplus", "LeakyReLU", "RReLU", "PReLU", "Hardswish", "Hardsigmoid", "LogSigmoid",
         "sigmoid", "tanh", "gelu", "silu", "elu", "selu", "celu", "mish", "softplus", "leaky_relu", "prelu", "hardswish", "hardsigmoid"),
        "ReLU",
    ),
    **dict.fromkeys(("Softmax", "LogSoftmax", "softmax", "log_softmax"), _NOTHING),
    **dict.fromkeys(("RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell"), _RECURRENT),
    **dict.fromkeys(
        ("MultiheadAttention", "Transformer", "TransformerEncoder", "TransformerEncoderLayer", "TransformerDecoder", "TransformerDecoderLayer",
         "scaled_dot_product_attention", "bmm", "einsum"),
        _PRODUCT,
    ),
    **dict.fromkeys(
        ("LayerNorm", "GroupNorm", "InstanceNorm1d", "InstanceNorm2d", "LocalResponseNorm", "RMSNorm", "layer_norm", "group_norm", "instance_norm"), _NORM
    ),
    "Embedding": "one input line a symbol (one-hot samples) and a Linear without bias",
    "argmax": "nothing: return the scores themselves",
    "LPPool2d": "AvgPool2d or MaxPool2d",
    "FractionalMaxPool2d": "MaxPool2d",
}  # fmt: skip


def is_refused(kind: str) -> bool:
    """Return whether a kind of operation is refused with something that would do."""
    return kind in _REPLACEMENTS


def refusal(operation: Operation) -> ConversionError:
    """Return the refusal of an operation, by its name and with what would do."""
    kind = kind_of(operation)
    instead = _REPLACEMENTS.get(kind)
    if isinstance(operation.what, nn.Module) and kind in {
        each.__name__ for each in KNOWN
    }:  # another class of the same name, such as a quantised one
        kind = f"{type(operation.what).__module__}.{kind}"
    hint = f"; use {instead}" if instead else f"; what can: {ACCEPTED}"
    return ConversionError(f"layer {operation.name!r}: {kind} cannot become spiking{hint}")
