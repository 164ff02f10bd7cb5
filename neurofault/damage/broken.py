"""What is broken physically, wherever the network sits: places that edits cannot name, because edits name neurons and synapses.

A fault of a spare core edits nothing, for nothing sits there; and which messages a dead link takes depends on where neurons sit. So a
`Hit` also keeps these records. Engines never read them; a repair that moves neurons does (``neurofault/rescue/remap/remap.py``) and turns
them into edits of what sits there then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from neurofault.damage.when import ALWAYS, When


@dataclass(frozen=True)
class BrokenCells:
    """Stuck bits in the synapse memory of a core that held nothing when they broke.

    Words count from 0 in the order in which a core stores synapses, bits from 0, the lowest of a word. A word of W bits holds
    ⌊W / b⌋ fields of b-bit weights, the first in the lowest bits.

    Attributes:
        core: id.
        words: int [k], word of each stuck bit, or of each stuck word, at least 0.
        bits: int [k], bit of the word, 0 to W − 1; None: all bits of the words.
        level: what they read, 0 or 1.
        when: active steps of whatever layer comes to be stored there.
    """

    core: int
    words: tuple[int, ...]
    bits: tuple[int, ...] | None = None
    level: int = 0
    when: When = ALWAYS


@dataclass(frozen=True)
class BrokenCore:
    """A core that held nothing when it, or its learning engine, broke.

    Attributes:
        core: id.
        part: ``silent`` (the core does nothing), or a part of its learning engine as in :class:`LearningDefect`.
        trace, value: as in :class:`LearningDefect`.
        when: active steps.
    """

    core: int
    part: Literal["silent", "frozen", "stuck_trace", "third_factor", "rounding"]
    trace: str = ""
    value: int = 0
    when: When = ALWAYS


@dataclass(frozen=True)
class BrokenMesh:
    """Links or routers that no longer pass every message.

    Attributes:
        links: directed, ``"x,y:E"`` is the way out of tile x,y to the east (or W, N, S).
        routers: ``"x,y"`` of the tiles.
        reroute: whether messages go round what this record closes.
        probability: of a message that crosses one of the links to be lost, where ``key`` is given.
        key: of the random stream of a lossy link; None: nothing passes.
        when: active steps.
    """

    links: tuple[str, ...] = ()
    routers: tuple[str, ...] = ()
    reroute: bool = False
    probability: float = 1.0
    key: int | None = None
    when: When = ALWAYS


@dataclass(frozen=True)
class BrokenChecks:
    """Check bits of code words that are wrong; the chip reads no weight from them, its decoder does.

    Attributes:
        core: id.
        connection: whose words they are.
        words: int [k], number of each one's word among those of the connection.
        bits: int [k], which of its check bits, from 0.
        level: what they read, 0 or 1; −1: the opposite of what was stored.
        when: active steps.
    """

    core: int
    connection: str
    words: tuple[int, ...]
    bits: tuple[int, ...]
    level: int = -1
    when: When = ALWAYS


Broken = BrokenCells | BrokenCore | BrokenMesh | BrokenChecks
BROKEN: Mapping[str, type[Broken]] = {kind.__name__: kind for kind in get_args(Broken)}
"""Every kind of record by the name that files hold."""
