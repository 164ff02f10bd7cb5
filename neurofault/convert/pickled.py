"""A pickle as inert data: a machine for the few instructions that a saved state dict needs, and no way to call anything.

Python's own unpickler calls what a pickle names. This one never looks a name up: ``torch._utils._rebuild_tensor_v2`` becomes a record
:class:`PickledCall` with its arguments, whatever it is; who reads the result decides what a record stands for. Every other instruction, a key that
is neither text nor a whole number, and a number or text beyond what the bytes hold are refused.
"""

from __future__ import annotations

import pickletools
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

from neurofault.errors import DataError

MAX_BYTES: Final = 4 << 20
"""Longest pickle, the names and shapes of tensors, without their values."""

_MARK: Final = object()


@dataclass(frozen=True)
class Name:
    """Something that the pickle names, ``torch FloatStorage``; it is not looked up."""

    module: str
    name: str


@dataclass(eq=False)
class PickledCall:
    """What the pickle would have called, and with what; ``state`` is what it would have been given then."""

    what: Any
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Persistent:
    """What the pickle asks its reader for: a storage."""

    key: Any


class NotPlainError(Exception):
    """An instruction that a state dict does not need: it could build or call anything."""


def read_pickle(file: BinaryIO, where: str) -> Any:
    """Read one pickle: dicts with texts and whole numbers as keys, lists, tuples, texts, numbers, and records for the rest.

    Args:
        file: left behind the pickle.
        where: for messages.

    Raises:
        DataError: cut short or damaged.
        NotPlainError: it needs more than that.
    """
    try:
        return _Machine().run(file)
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, UnicodeError, EOFError, AssertionError) as error:
        raise DataError(
            f"{where}: not a readable torch file (its pickle is damaged: {' '.join(str(error).split())[:120]})"
        ) from None


class _Machine:
    """The stack and the memo of one pickle."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self, file: BinaryIO) -> Any:
        start = file.tell()
        for operation, argument, _ in pickletools.genops(file):
            if file.tell() - start > MAX_BYTES:
                raise ValueError(f"longer than {MAX_BYTES:,} bytes")
            if operation.name == "STOP":
                return self.stack.pop()
            self.step(operation.name, argument)
        raise ValueError("no end")

    def step(self, operation: str, argument: Any) -> None:
        stack = self.stack
        match operation:
            case "PROTO" | "FRAME":
                pass
            case "NONE":
                stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                stack.append(operation == "NEWTRUE")
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT" | "BINUNICODE" | "SHORT_BINUNICODE":
                stack.append(argument)
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_TUPLE":
                stack.append(())
            case "MARK":
                stack.append(_MARK)
            case "TUPLE":
                stack.append(tuple(self.marked()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                size = int(operation[-1])
                stack[-size:] = [tuple(stack[-size:])]
            case "APPEND":
                self.extend([stack.pop()])
            case "APPENDS":
                self.extend(self.marked())
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                self.update([key, value])
            case "SETITEMS":
                self.update(self.marked())
            case "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(self.memo[argument])
            case "GLOBAL":
                module, _, name = argument.partition(" ")
                stack.append(Name(module, name))
            case "STACK_GLOBAL":
                name, module = stack.pop(), stack.pop()
                stack.append(Name(_text(module), _text(name)))
            case "BINPERSID":
                stack.append(Persistent(stack.pop()))
            case "REDUCE":
                arguments, what = stack.pop(), stack.pop()
                if type(arguments) is not tuple:
                    raise ValueError("arguments that are no tuple")
                stack.append({} if what == Name("collections", "OrderedDict") and arguments == () else PickledCall(what, arguments))
            case "BUILD" if type(stack[-2]) is dict:
                stack.pop()  # a state dict's _metadata, the versions of its modules
            case _:
                raise NotPlainError(operation)

    def marked(self) -> list[Any]:
        place = len(self.stack) - 1
        while self.stack[place] is not _MARK:
            place -= 1
            if place < 0:
                raise ValueError("no mark")
        items = self.stack[place + 1 :]
        del self.stack[place:]
        return items

    def extend(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise ValueError("items for something that is no list")
        self.stack[-1].extend(items)

    def update(self, pairs: list[Any]) -> None:
        into = self.stack[-1]
        if type(into) is not dict or len(pairs) % 2:
            raise ValueError("items for something that is no dict")
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            if type(key) not in (str, int):
                raise NotPlainError("a key that is neither text nor number")
            into[key] = value


def _text(value: Any) -> str:
    if type(value) is not str:
        raise ValueError("a name that is no text")
    return value
