"""What a torch module's forward does, as a chain of operations with what went in and came out on sample inputs.

The order comes from torch.fx, the values from running the traced operations one by one, layers with their hooks included. What lies in front of
the first layer is not read operation by operation: what it makes of the samples is measured (:mod:`neurofault.convert.prelude`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx, nn

from neurofault.convert.running import one_line
from neurofault.errors import ConversionError
from neurofault.zoo import RateCurve

LAYERS = (nn.Linear, nn.Conv2d, nn.AvgPool2d)
"""What may stand first in a chain."""

KNOWN = (*LAYERS, nn.BatchNorm1d, nn.BatchNorm2d, nn.ReLU, RateCurve, nn.Flatten, nn.Dropout, nn.Dropout2d, nn.Identity)
"""Modules that are taken, subclasses included: what a subclass's forward does differently shows in the values."""


@dataclass(frozen=True, eq=False)
class Operation:
    """One step of a chain.

    Attributes:
        name: of the layer, or of the traced call.
        what: the module, or the name of the function or method.
        arguments: positional arguments behind the tensor, for messages.
        given, returned: its input and output on the samples, [N, …]; None where no samples were given.
    """

    name: str
    what: nn.Module | str
    arguments: tuple[object, ...] = ()
    given: Tensor | None = None
    returned: Tensor | None = None


def kind_of(operation: Operation) -> str:
    """Return the class of an operation's module, or the name of its function."""
    return operation.what if isinstance(operation.what, str) else type(operation.what).__name__


class _Tracer(fx.Tracer):
    def is_leaf_module(self, module: nn.Module, qualified_name: str) -> bool:
        kept = isinstance(module, KNOWN) or type(module).__module__.startswith("torchvision.transforms")
        return kept or super().is_leaf_module(module, qualified_name)


@dataclass(frozen=True, eq=False)
class Traced:
    """A module's operations in order.

    Attributes:
        chain: the operations; where the module does not run, up to the one that raises, which has returned nothing.
        problem: why it does not run, as one line; None if it does, or was not run.
    """

    chain: list[Operation]
    problem: str | None = None


def trace(model: nn.Module, samples: Tensor | None) -> Traced:
    """Trace a module.

    Args:
        model: the module, in eval mode.
        samples: [N, …] to run it on; None: only the order is wanted.

    Raises:
        ConversionError: its forward cannot be traced, joins or branches, or returns something else than its last layer's tensor.
    """
    try:
        graph = _Tracer().trace(model)
    except Exception as error:  # torch.fx raises whatever the user's forward raises under symbolic values
        raise ConversionError(
            f"the module's forward cannot be traced ({one_line(error)}); write it without branches that depend on the data"
        ) from error
    values, problem = (None, None) if samples is None else _values(model, graph, samples)
    modules = dict(model.named_modules())
    chain: list[Operation] = []
    tensor: fx.Node | None = None
    changed_in: dict[fx.Node, fx.Node] = {}  # a tensor that an operation changed in place, and that operation

    def now(node: fx.Node) -> fx.Node:
        while node in changed_in:
            node = changed_in[node]
        return node

    for node in graph.nodes:
        if node.op == "get_attr" or not (node.op == "output" or _is_tensor(node, values)):
            continue
        if node.op == "placeholder":
            if tensor is None:
                tensor = node
            elif node.users:
                raise ConversionError(f"the module takes a second input {node.target!r}; networks with one input are taken")
            continue
        inputs = list(
            dict.fromkeys(now(each) for each in node.all_input_nodes if each.op != "get_attr" and _is_tensor(each, values))
        )
        if node.op == "output":
            returned = node.args[0]
            if not isinstance(returned, fx.Node) or now(returned) is not tensor:
                raise ConversionError("the module returns something other than its last layer's tensor; return that alone")
            break
        if len(inputs) > 1:
            raise ConversionError(
                f"layer {node.name!r}: joins or branches ({len(inputs)} inputs); only a chain of layers is taken, "
                "so rewrite skip connections as a chain"
            )
        if inputs != [tensor]:
            older = f"takes what {inputs[0].name!r} gave, which another layer takes too" if inputs else "takes no layer's output"
            raise ConversionError(f"layer {node.name!r}: {older}; only a chain of layers is taken")
        what: nn.Module | str = modules[str(node.target)] if node.op == "call_module" else _name(node)
        name = str(node.target) if node.op == "call_module" else node.name
        given, returned = (None, None) if values is None else (values.get(inputs[0]), values.get(node))
        chain.append(Operation(name, what, tuple(node.args[1:]), given, returned))
        if values is not None and returned is None:
            break
        if _in_place(node, what):
            changed_in[inputs[0]] = node
        tensor = node
    return Traced(chain, problem)


def _name(node: fx.Node) -> str:
    return node.target if isinstance(node.target, str) else str(getattr(node.target, "__name__", node.target))


def _in_place(node: fx.Node, what: nn.Module | str) -> bool:
    if isinstance(what, nn.Module):
        return getattr(what, "inplace", False) is True
    return what.endswith("_") or node.kwargs.get("inplace") is True


def _is_tensor(node: fx.Node, values: Mapping[fx.Node, Any] | None) -> bool:
    """Whether a traced value belongs to the chain; sizes and numbers do not."""
    if values is None or node not in values:
        return True
    value = values[node]
    return isinstance(value, Tensor) or (isinstance(value, tuple) and any(isinstance(each, Tensor) for each in value))


def _values(model: nn.Module, graph: fx.Graph, samples: Tensor) -> tuple[dict[fx.Node, Any], str | None]:
    """Return what every traced operation returns (a tensor is copied: a later operation may change it in place), and why it went no further."""
    found: dict[fx.Node, Any] = {}

    class Runner(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            value = super().run_node(n)
            found[n] = value.clone() if isinstance(value, Tensor) else value
            return value

    runner = Runner(fx.GraphModule(model, graph))
    runner.extra_traceback = False
    try:
        runner.run(samples.clone())
    except Exception as error:  # the user's layers may raise anything
        return found, f"the module does not run on samples of shape {tuple(samples.shape[1:])} ({one_line(error)})"
    return found, None


def first_layer(chain: list[Operation]) -> int | None:
    """Return the index of the operation that is the chain's first layer; None if it has none."""
    return next((index for index, operation in enumerate(chain) if isinstance(operation.what, LAYERS)), None)
