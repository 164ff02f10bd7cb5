"""Reference pages that neurofault's own code answers for: every verb's help, every fault kind, the profiles, the keys of campaigns, those of results."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

COLUMNS = "110"


def write(folder: Path) -> None:
    """Write ``cli.md``, ``kinds.md``, ``chips.md``, ``campaign_keys.md`` and ``output_keys.md`` into a folder; what has not changed is left as it is."""
    folder.mkdir(exist_ok=True)
    os.environ["COLUMNS"] = os.environ["TERMINAL_WIDTH"] = COLUMNS
    pages = {"cli": _cli(), "kinds": _kinds(), "chips": _chips(), "campaign_keys": _campaign_keys(), "output_keys": output_keys()}
    for name, text in pages.items():
        path = folder / f"{name}.md"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def answer(*words: str) -> str:
    """Return what ``neurofault WORDS`` prints.

    Raises:
        RuntimeError: it did not end well.
    """
    from neurofault.cli.app import app

    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        try:
            code = app(list(words), standalone_mode=False, prog_name="neurofault")
        except SystemExit as end:
            code = end.code
    if code not in (None, 0):
        raise RuntimeError(f"neurofault {' '.join(words)} ended with {code}")
    return "\n".join(line.rstrip() for line in out.getvalue().strip().splitlines())


def verbs() -> Iterator[tuple[str, ...]]:
    """Yield the words of each verb, as the command line registers them: ``("inject",)``, ``("campaign", "run")`` and so on."""
    from neurofault.cli.verbs import VERBS, loaded

    def below(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        inner = getattr(command, "commands", None)
        if inner is None:
            yield words
            return
        for name, one in sorted(inner.items()):
            yield from below(one, (*words, name))

    for name in sorted(VERBS):
        yield from below(loaded(name), (name,))


def _cli() -> str:
    parts = [
        "# Command line",
        "What is each verb for, and which options does it take? Written from `--help`.",
        f"```text\n{answer('--help')}\n```",
    ]
    for words in verbs():
        parts += [f"## neurofault {' '.join(words)}", f"```text\n{answer(*words, '--help')}\n```"]
    return "\n\n".join(parts) + "\n"


def _kinds() -> str:
    from neurofault.faults.models import KINDS

    parts = [
        "# Fault kinds",
        "What may break, and which parameters does it take? Written from `neurofault faults describe`; the grammar: [faults](../faults.md).",
    ]
    for kind in KINDS:
        parts += [f"## {kind}", f"```text\n{answer('faults', 'describe', kind)}\n```"]
    return "\n\n".join(parts) + "\n"


def _chips() -> str:
    return (
        "\n\n".join(
            [
                "# Hardware profiles",
                "Which chips come with it? Written from `neurofault profiles`. `neurofault profile show NAME` gives every number with its source; "
                "one of your own: [your own chip](../your_own_chip.md).",
                f"```text\n{answer('profiles')}\n```",
            ]
        )
        + "\n"
    )


def _campaign_keys() -> str:
    from neurofault.deploy.profile_schema import descriptions, summary
    from neurofault.study.campaign.records import CampaignSpec

    schema = json.loads(answer("campaign", "schema"))
    parts = [
        "# Keys of a campaign file",
        "What may stand in a campaign's YAML? Written from `neurofault campaign schema` and the records behind it; what they mean together: [campaigns](../campaigns.md). "
        "The fields of faults are those of [their kinds](kinds.md). `{sweep: […]}` may stand in the place of a value of an axis.",
    ]
    for record in records(CampaignSpec):
        whole = record is CampaignSpec
        properties = (schema if whole else schema["$defs"][record.__name__])["properties"]
        title = "The file" if whole else record.__name__.rstrip("_")
        said = {**descriptions(record), "include": "other files, whose keys hold where this file does not say them"}
        parts += [f"## {title}", summary(record), _table(properties, said)]
    return "\n\n".join(parts) + "\n"


def records(record: Any) -> list[Any]:
    """Return a record of a campaign file and all that may stand in it."""
    found = [record]
    for field in record.model_fields.values():
        for inner in _classes(field.annotation):
            found += [one for one in records(inner) if one not in found]
    return found


def _classes(annotation: Any) -> Iterator[Any]:
    from pydantic import BaseModel

    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _classes(inner)


def _table(properties: dict[str, Any], said: Mapping[str, str]) -> str:
    rows = ["| key | takes | default | what it is |", "|---|---|---|---|"]
    rows += [
        f"| `{key}` | {_takes(value)} | {_default(value)} | {said.get(key, '').replace('|', chr(92) + '|')} |"
        for key, value in properties.items()
    ]
    return "\n".join(rows)


def _default(value: dict[str, Any]) -> str:
    """Return what holds where a key is left out: of a value itself, or of its axis' values; nothing of records, whose own keys say it."""
    found = [one["default"] for one in (value, *value.get("anyOf", ())) if "default" in one]
    return "" if not found or isinstance(found[0], dict | list) else f"`{json.dumps(found[0])}`"


def _takes(value: dict[str, Any]) -> str:
    """Return in words what a key takes."""
    match value:
        case {"$ref": str(where)}:
            return where.rsplit("/", 1)[-1].rstrip("_")
        case {"enum": list(choices)}:
            return ", ".join(f"`{one}`" for one in choices)
        case {"const": one}:
            return f"`{one}`"
        case {"anyOf": list(some)} | {"oneOf": list(some)}:
            return " or ".join(dict.fromkeys(_takes(one) for one in some if "sweep" not in one.get("properties", {})))
        case {"type": "array", "items": dict(one)}:
            return f"list of {_takes(one)}"
        case {"type": str(kind)}:
            return kind
        case _:
            return "any"


def output_keys() -> str:
    """Return the page of what results hold, from ``output_keys.yaml``."""
    import yaml

    told = yaml.safe_load(Path(__file__).with_name("output_keys.yaml").read_text(encoding="utf-8"))
    pages = {name: f"[{{}}]({one['page']})" for name, one in told["elsewhere"].items()} | {
        name: f"[{{}}](#{name})" for name in told["records"]
    }
    parts = [
        "# Keys of results",
        "What does each key of `--json` mean, and each column of a table? Each is here, with its type, unit and range; a test runs the verbs and compares.",
        "What is not known is null. The unit *metric* is a share of right answers, 0 to 1; where targets are answered it is a mean squared error, in their unit squared, and `mean_squared_error` stands in the place of "
        "`accuracy` in the keys of `inject`, `rescue` and `atlas`. `a.b` is key `b` within `a`, `a[].b` the same within each item of list `a`, and `a.*` each value of `a`, whose keys are names. "
        "`campaign schema` and `profile schema` print JSON Schemas; the files of `paper` are those of [its figures](../does_it_hold.md).",
        "## JSON of the verbs",
        *_explained(told["outputs"], pages, "###"),
        "## Records within it",
        *_explained(told["records"], pages, "###"),
        "## Tables",
        *_explained(told["tables"], pages, "###"),
    ]
    return "\n\n".join(parts) + "\n"


def _explained(groups: Mapping[str, Any], pages: Mapping[str, str], level: str) -> Iterator[str]:
    for name, group in groups.items():
        yield f"{level} {group.get('title', name)}"
        if "what" in group:
            yield group["what"].strip()
        rows = ["| key | is | unit | range | what it is |", "|---|---|---|---|---|"]
        for key, said in group["keys"].items():
            allowed = said.get("range", "")
            words = allowed if isinstance(allowed, str) else ", ".join(f"`{one}`" for one in allowed)
            only = f" (only where: {said['only']})" if "only" in said else ""
            unit = "*metric*" if said.get("unit") == "metric" else said.get("unit", "")
            rows.append(f"| `{key}` | {_linked(said['is'], pages)} | {unit} | {words} | {said['what']}{only} |")
        yield "\n".join(rows)


def _linked(kind: str, pages: Mapping[str, str]) -> str:
    """Return a type, with links to the records in it."""
    if "<" in kind:
        return f"`{kind}`"
    return " ".join(
        next((link.format(word) for name, link in pages.items() if word in (name, f"{name}s")), word) for word in kind.split(" ")
    )
