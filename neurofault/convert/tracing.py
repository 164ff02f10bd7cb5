"""What a torch module's forward does, as a graph of operations with what went in and came out on sample inputs.

The graph comes from torch.fx, the values from running the traced operations one by one, layers with their hooks included. What lies in front of
the first layer may be anything that is one gain and one shift of each value: it is measured (:mod:`neurofault.convert.prelude`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor, fx, nn
from torch.fx.node import map_aggregate

from neurofault.convert.running import one_line, why_it_does_not_run
from neurofault.errors import ConversionError
from neurofault.zoo.rate_curve import RateCurve

LAYERS = (
    nn.Linear, nn.Conv1d, nn.Conv2d, nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d,
    nn.MaxPool1d, nn.MaxPool2d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d,
)  # fmt: skip
"""What may stand first in a network, behind whatever a sample goes through before it."""

_LAYER_CALLS = ("linear", "conv1d", "conv2d", "avg_pool1d", "avg_pool2d", "max_pool1d", "max_pool2d")

KNOWN = (
    *LAYERS, nn.BatchNorm1d, nn.BatchNorm2d, nn.ReLU, nn.Hardtanh, RateCurve, nn.Flatten, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Identity,
)  # fmt: skip
"""Modules that are taken, subclasses included: what a subclass's forward does differently shows in the values."""

JOINED = ("cat", "concat", "concatenate", "stack")
JOINS = ("add", "add_", "iadd", "sub", "sub_", "isub", "subtract", *JOINED)
"""Functions that take several values of a network."""

_IN_PLACE = ("iadd", "isub", "imul", "itruediv")

_SPLITS = ("chunk", "split", "unbind", "tensor_split")
"""Functions that give several tensors, each of which is an operation of its own here."""


@dataclass(frozen=True)
class Taken:
    """The place of a tensor among an operation's arguments: the number of its input."""

    index: int


@dataclass(frozen=True, eq=False)
class Operation:
    """One operation of a module.

    Attributes:
        name: of the layer, or of the traced call.
        what: the module, or the name of the function or method.
        key: by which others take its output.
        inputs: keys of the operations whose output it takes; ``""`` is the sample.
        arguments, keywords: of the call; :class:`Taken` stands for its inputs, everything else is constant.
        values: its inputs on the samples, [N, …]; empty where no samples were given.
        returned: its output on the samples; None where no samples were given, or where it raised.
        call: the operation as a function of inputs in float64.
    """

    name: str
    what: nn.Module | str
    key: str
    inputs: tuple[str, ...]
    arguments: tuple[Any, ...] = ()
    keywords: Mapping[str, Any] = field(default_factory=dict)
    values: tuple[Tensor, ...] = ()
    returned: Tensor | None = None
    call: Callable[..., Any] | None = None

    @property
    def given(self) -> Tensor | None:
        """Its first input on the samples; None where no samples were given."""
        return self.values[0] if self.values else None

    @property
    def constants(self) -> tuple[Any, ...]:
        """Positional arguments behind the first."""
        return self.arguments[1:]


def kind_of(operation: Operation) -> str:
    """Return the class of an operation's module, or the name of its function."""
    return operation.what if isinstance(operation.what, str) else type(operation.what).__name__


class _Tracer(fx.Tracer):
    def is_leaf_module(self, module: nn.Module, qualified_name: str) -> bool:
        kept = isinstance(module, KNOWN) or type(module).__module__.startswith("torchvision.transforms")
        return kept or super().is_leaf_module(module, qualified_name)


@dataclass(frozen=True, eq=False)
class Traced:
    """What a module does to a sample.

    Attributes:
        operations: those that its answer needs, each behind those that it takes; the last one is the answer. Where the module does not
            run, all up to the one that raises, which has returned nothing.
        problem: why it does not run, as one line; None if it does, or was not run.
    """

    operations: list[Operation]
    problem: str | None = None


def trace(model: nn.Module, samples: Tensor | None) -> Traced:
    """Trace a module.

    Args:
        model: the module, in eval mode.
        samples: [N, …] to run it on; None: only the order is wanted, of a module without functions.

    Raises:
        ConversionError: its forward cannot be traced, takes a second input, or returns something else than one layer's tensor.
    """
    graph = _graph_of(model)
    values, problem = (None, None) if samples is None else _values(model, graph, samples)
    sample: fx.Node | None = None
    found: dict[fx.Node, Operation] = {}
    pieces: dict[fx.Node, Operation] = {}  # what gives several tensors
    changed_in: dict[fx.Node, fx.Node] = {}  # a tensor that an operation changed in place, and that operation

    def now(node: fx.Node) -> fx.Node:
        while node in changed_in:
            node = changed_in[node]
        return node

    for node in graph.nodes:
        if node.op == "placeholder":
            if sample is None:
                sample = node
            elif node.users:
                raise ConversionError(f"the module takes a second input {node.target!r}; networks with one input are taken")
            continue
        if node.op == "output":
            returned = node.args[0]
            if not isinstance(returned, fx.Node) or now(returned) not in found:
                raise ConversionError("the module returns something other than its last layer's tensor; return that alone")
            return Traced(_needed(found.values(), now(returned).name), problem)
        used = [now(each) for each in node.all_input_nodes]
        inputs = list(dict.fromkeys(each for each in used if each in found or each is sample))
        whole = next((pieces[each] for each in used if each in pieces), None)
        if whole is not None and values is not None and node in values:
            found[node] = _piece(whole, node, values[node])
            continue
        if not inputs or (values is not None and node in values and not _is_tensor(values[node])):
            continue  # a constant, or a size
        operation = _operation(model, node, inputs, sample, values)
        if operation.what in _SPLITS and operation.returned is None and values is not None and node in values:
            pieces[node] = operation
            continue
        found[node] = operation
        if values is not None and node not in values:
            break
        if _in_place(node, operation.what):
            changed_in[inputs[0]] = node
    return Traced(list(found.values()), problem)


def _graph_of(model: nn.Module) -> fx.Graph:
    try:
        return _Tracer().trace(model)
    except Exception as error:  # torch.fx raises whatever the user's forward raises under symbolic values
        raise ConversionError(
            f"the module's forward cannot be traced ({one_line(error)}); write it without branches that depend on the data"
        ) from error


def calls_of(model: nn.Module) -> set[str]:
    """Return the kinds of all operations of a module's forward: classes of layers, names of functions, ``join`` for a sum or concatenation of several values.

    Raises:
        ConversionError: it cannot be traced.
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    found = set()
    for node in _graph_of(model).nodes:
        if node.op == "call_module":
            found.add(type(modules[str(node.target)]).__name__)
        elif node.op in ("call_function", "call_method"):
            found.add(_name(node))
            if _name(node) in JOINS and sum(each.op != "get_attr" for each in node.all_input_nodes) > 1:
                found.add("join")
    return found


def _operation(
    model: nn.Module, node: fx.Node, inputs: Sequence[fx.Node], sample: fx.Node | None, values: Mapping[fx.Node, Any] | None
) -> Operation:
    places = {each: Taken(index) for index, each in enumerate(inputs)}

    def resolved(each: fx.Node) -> Any:
        if each in places:
            return places[each]
        return None if values is None else values.get(each)

    arguments, keywords = fx.map_arg(tuple(node.args), resolved), fx.map_arg(dict(node.kwargs), resolved)
    module = model.get_submodule(str(node.target)) if node.op == "call_module" else None

    def call(*tensors: Tensor) -> Any:
        def filled(argument: Any) -> Any:
            if isinstance(argument, Taken):
                return tensors[argument.index]
            return argument.double() if isinstance(argument, Tensor) and argument.is_floating_point() else argument

        given, named = map_aggregate(arguments, filled), map_aggregate(keywords, filled)
        if module is not None:
            return copy.deepcopy(module).double()(*given, **named)
        if node.op == "call_method":
            return getattr(given[0], str(node.target))(*given[1:], **named)
        return node.target(*given, **named)  # type: ignore[operator]  # a function

    returned = None if values is None else values.get(node)
    return Operation(
        str(node.target) if module is not None else node.name,
        module if module is not None else _name(node),
        node.name,
        tuple("" if each is sample else each.name for each in inputs),
        arguments,
        keywords,
        () if values is None else tuple(values[each] for each in inputs),
        returned if isinstance(returned, Tensor) else None,
        call,
    )


def _piece(whole: Operation, node: fx.Node, value: Any) -> Operation:
    """Return one of several tensors that an operation gives as an operation of its own."""
    index = node.args[1]

    def call(*tensors: Any) -> Any:
        assert whole.call is not None
        return whole.call(*tensors)[index]

    return replace(whole, key=node.name, returned=value if isinstance(value, Tensor) else None, call=call)


def _needed(operations: Iterable[Operation], last: str) -> list[Operation]:
    """Return the operations that an answer needs, the answer last."""
    ordered = list(operations)
    wanted = {last}
    for operation in reversed(ordered):
        if operation.key in wanted:
            wanted.update(operation.inputs)
    kept = [operation for operation in ordered if operation.key in wanted]
    return [*(each for each in kept if each.key != last), *(each for each in kept if each.key == last)]


def _name(node: fx.Node) -> str:
    return node.target if isinstance(node.target, str) else str(getattr(node.target, "__name__", node.target))


def _in_place(node: fx.Node, what: nn.Module | str) -> bool:
    if isinstance(what, nn.Module):
        return getattr(what, "inplace", False) is True
    return what.endswith("_") or what in _IN_PLACE or node.kwargs.get("inplace") is True


def _is_tensor(value: Any) -> bool:
    """Whether a traced value belongs to the network; sizes and numbers do not."""
    return isinstance(value, Tensor) or (isinstance(value, tuple | list) and any(isinstance(each, Tensor) for each in value))


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
        return found, why_it_does_not_run(model, samples, error)
    return found, None


def first_layer(operations: Sequence[Operation]) -> int | None:
    """Return the index of the operation that is a network's first layer; None if it has none."""
    return next(
        (index for index, each in enumerate(operations) if isinstance(each.what, LAYERS) or each.what in _LAYER_CALLS), None
    )
