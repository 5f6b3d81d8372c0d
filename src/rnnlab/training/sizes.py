"""Defaults that follow from the number of training examples, for one's own files: a recipe suits the source it was found on."""

import copy
from dataclasses import dataclass, replace
from typing import cast

from rich.console import Console
from rich.markup import escape

from rnnlab.config import Config, flatten
from rnnlab.data.base import SequenceDataModule
from rnnlab.paths import CONF
from rnnlab.settings import TrainSettings

console = Console(stderr=True, soft_wrap=True)
TABLE, SUITED = "by_size", "suited_to"
"""The keys of `data` that hold the table, and the number of examples by which a row of it was taken."""
COPIES = {"epochs": "trainer.max_epochs", "frontend.": "model.frontend."}
"""Where a key, or those of a section, stand once more in what was composed."""


@dataclass(frozen=True)
class Suited:
    """Settings with the row of the table that applies, and what it set, in words; without words where none applies."""

    settings: TrainSettings
    words: str = ""


def suited(settings: TrainSettings, size: int) -> Suited:
    """Return settings with the defaults for `size` training examples; what was typed stays, and the table is taken out.

    A row applies to one's own files and to networks, all of them alike, where no recipe was chosen: a baseline has none of these keys.
    """
    table = settings.data.values.get(TABLE)
    if table is None:
        return Suited(settings)
    recipe = settings.choices.recipe
    has_recipe = recipe is not None and (CONF / "tuned" / f"{recipe}.yaml").is_file()
    module = cast(type[SequenceDataModule], settings.data.recipe().func)
    is_own = bool(module.own_name(str(settings.data.values["source"])))
    applies = is_own and not settings.is_baseline and not has_recipe
    row = next(row for row in table if row["up_to"] is None or size <= row["up_to"]) if applies else None
    values = copy.deepcopy(settings.composed.values)
    values["data"] |= {TABLE: None} | ({SUITED: size} if row else {})
    typed = {word.partition("=")[0].lstrip("+") for word in settings.words}
    applied = _apply(row["set"], values, typed) if row else {}
    found = TrainSettings.of(replace(settings.composed, values=values))
    return Suited(found, _in_words(size, row, applied) if row else "")


def _apply(wanted: Config, values: Config, typed: set[str]) -> dict[str, object]:
    """Put values where they are not typed; return those, by key. A key that the model or optimizer at hand lacks is left out."""
    flat, applied = flatten(values), {}
    for key, value in flatten(wanted).items():
        twins = [copied + key.removeprefix(own) for own, copied in COPIES.items() if key == own or (own[-1] == "." and key.startswith(own))]
        twins = [twin for twin in twins if flat.get(twin) == flat.get(key)]  # trainer=smoke has epochs of its own
        if key not in flat or typed & {key, *twins} or (key in COPIES and not twins):
            continue
        for place in (key, *twins):
            _put(values, place, value)
        applied[key] = value
    return applied


def _put(values: Config, key: str, value: object) -> None:
    *sections, last = key.split(".")
    for name in sections:
        values = values[name]
    values[last] = value


def _in_words(size: int, row: Config, applied: dict[str, object]) -> str:
    bound = f"up to {row['up_to']:,}" if row["up_to"] is not None else "more"
    what = " ".join(f"{key}={value}".replace(" ", "") for key, value in applied.items()) or "nothing, since all of it was typed"
    return f"{size:,} training examples: the defaults for {bound} set {what}. {row['why']} Leave them out: data.{TABLE}=null"


def say_suited(found: Suited) -> None:
    """Print which defaults apply, and why; nothing where none do."""
    if found.words:
        console.print(f"[bold]size[/] {escape(found.words)}", highlight=False)
