"""The run whose weights another begins with (`init_from`).

Weights go over where names and shapes agree; vectors of words go over by word, also where the vocabulary is another. A word that the first
run never knew begins with the mean of its vectors, as the code of Howard and Ruder (2018) has it. A head for other labels is drawn anew.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from rnnlab.config import Config, ConfigError
from rnnlab.contracts import START
from rnnlab.data.inputs import InputTokens
from rnnlab.evaluation.bundle import Described, describe_bundle
from rnnlab.models.base import Network, SequenceModule
from rnnlab.training.checkpoints import BEST, LAST, read_checkpoint

console = Console(stderr=True, soft_wrap=True)
HEAD = ("output.", "between.", "crf.", "pooling.", "intent.")
"""How the names of weights of heads begin."""
OF_TABLE = ("frontend.table.weight", "frontend.words.table.weight")
"""What front ends call their vectors of words."""
OF_OUTPUT = ("output.weight", "output.bias")
"""Weights with a row for each word in a language model's head."""
SIZES = ("hidden_size", "num_layers", "has_layer_norm", "has_batch_norm", "has_residual", "kernel_size", "num_heads", "feedforward_size")


@dataclass(frozen=True)
class FirstRun:
    """A run whose weights another begins with: its folder, and what its bundle says (None: it has none, since it did not end well)."""

    folder: Path
    described: Described | None

    @classmethod
    def of(cls, folder: Path) -> "FirstRun":
        """Read what a run left in its folder.

        Raises:
            ConfigError: where its bundle is damaged.
        """
        bundle = folder / "artifacts" / "bundle"
        return cls(folder, describe_bundle(bundle) if (bundle / "bundle.json").is_file() else None)

    @property
    def tokens(self) -> InputTokens | None:
        """What its tokens are, where it reads such that go over by word."""
        return self.described.reader.input_tokens if self.described else None

    def begin(self, model: Network, tokens: InputTokens | None, settings: Config, is_trained: bool = True) -> None:
        """Give a network this run's weights, and say which.

        Args:
            model: as it was drawn.
            tokens: of its inputs.
            settings: of the model (`model`).
            is_trained: whether weights that are drawn anew will be trained.

        Raises:
            ConfigError: where no weight goes over, some do not though nothing will be trained, or a language model's do not fit.
        """
        file = next((f for f in (self.folder / BEST, self.folder / LAST) if f.is_file()), None)
        if file is None:
            raise ConfigError(f"init_from: no checkpoint in {self.folder}")
        theirs, ours = read_checkpoint(file)["state_dict"], model.state_dict()
        words = ""
        if self.tokens is not None and tokens is not None:
            theirs, words = by_word(theirs, model, self.tokens, tokens)
        theirs = {name: value for name, value in theirs.items() if not self._is_of_other_head(name, model)}
        if self._is_language and model.spec.goal != "continue":
            self._refuse_misfit(model, theirs, ours, tokens, settings)
        taken = {name: value for name, value in theirs.items() if name in ours and ours[name].shape == value.shape}
        if not any(name in taken for name in OF_TABLE):  # another vocabulary: its n-grams are numbered by it
            taken = {name: value for name, value in taken.items() if "ngram" not in name}
        if not taken:
            raise ConfigError("init_from: no weight of that run has the name and shape of one here")
        left = [name for name in ours if name not in taken]
        if left and not is_trained:
            set_alike = " ".join(differing(self.described.model, settings)) if self.described else ""
            raise ConfigError(
                f"epochs=0 takes the weights of run {self.folder.name} as they are, and {len(left)} of {len(ours)} are not among them, "
                f"{left[0]} first: set {set_alike or 'model and data as that run has them'}, or train (epochs=10)"
            )
        model.load_state_dict(taken, strict=False)
        console.print(f"init_from {self.folder.name}: took {len(taken)} of {len(ours)} weights of {file.name}{words}", highlight=False)
        if left:
            console.print(f"  drawn anew: {', '.join(left)}", highlight=False)

    @property
    def _is_language(self) -> bool:
        return self.described is not None and self.described.spec.goal == "continue"

    def _is_of_other_head(self, name: str, model: Network) -> bool:
        """Tell whether weights are of a head that answers with other labels; language models answer with words."""
        if self.described is None or not name.startswith(HEAD):
            return False
        theirs, ours = self.described.spec, model.spec
        if theirs.goal == ours.goal == "continue":
            return False
        return theirs.target_kind != ours.target_kind or (theirs.target_kind != "real" and theirs.label_names != ours.label_names)

    def _refuse_misfit(
        self, model: Network, theirs: dict[str, Tensor], ours: dict[str, Tensor], tokens: InputTokens | None, settings: Config
    ) -> None:
        """Refuse to begin with a language model of which the table or a layer would not go over: what is left would be of little use."""
        assert self.described is not None
        name = f"init_from: run {self.folder.name} is a language model"
        if tokens is None or not isinstance(model, SequenceModule) or not model.frontend.word_table:
            raise ConfigError(
                f"{name}, which begins a classifier of texts (data=text and its sets) or a tagger (data=tags), not "
                f"data={model.spec.name} with model={type(model).__name__.lower()}"
            )
        if model.layer.num_directions == 2:
            raise ConfigError(
                f"{name}, which reads texts forwards, and model={type(model).__name__.lower()} reads them from both ends: choose "
                f"{' '.join(differing(self.described.model, settings))}"
            )
        wanted = [f"frontend.{model.frontend.word_table}", *(each for each in ours if each.startswith(f"{model.layer_name}."))]
        if odd := [each for each in wanted if each not in theirs or theirs[each].shape != ours[each].shape]:
            raise ConfigError(
                f"{name} of other sizes: {len(odd)} of {len(wanted)} weights of table and layers would not go over, {odd[0]} first. "
                f"Set {' '.join(differing(self.described.model, settings)) or 'frontend=embedding'}"
            )


def differing(theirs: Config, ours: Config) -> list[str]:
    """Return what must be typed for a network that takes another's table and layers, as far as the two differ."""
    name, own_name = (_module(each["_target_"]) for each in (theirs, ours))
    words = [f"model={name}"] if name != own_name else []
    cell, own_cell = (_module(each["cell"]["_target_"]) if "cell" in each else "" for each in (theirs, ours))
    words += [f"cell={cell}"] if cell and cell not in (own_cell, name) else []
    if ours["frontend"]["_target_"] != theirs["frontend"]["_target_"]:
        words.append("frontend=embedding")
    size = theirs["frontend"].get("embedding_size")
    words += [f"frontend.embedding_size={size}"] if size != ours["frontend"].get("embedding_size") else []
    for part, values in theirs.items():
        if isinstance(values, dict) and isinstance(own := ours.get(part), dict):
            words += [f"model.{part}.{key}={values[key]}" for key in SIZES if key in values and values[key] != own.get(key)]
    return words


def _module(target: str) -> str:
    """Return the name of a model or cell, which is that of its file."""
    return target.split(".")[-2]


def by_word(theirs: dict[str, Tensor], model: Network, first: InputTokens, tokens: InputTokens) -> tuple[dict[str, Tensor], str]:
    """Return weights with a row for each word here instead of a row for each word there, and in words how many went over."""
    place = {word: number for number, word in enumerate(first.words)}
    places_V = torch.tensor([place.get(word, -1) for word in tokens.words])
    old = next((name for name in OF_TABLE if name in theirs), None)
    if old is None or not model.frontend.word_table or len(theirs[old]) != len(first.words):
        return theirs, ""
    rows = {f"frontend.{model.frontend.word_table}": theirs[old]}
    rows |= {name: theirs[name] for name in OF_OUTPUT if name in theirs and model.spec.goal == "continue"}
    changed = {name: values for name, values in theirs.items() if name not in OF_TABLE}
    changed |= {name: _rows(values, places_V) for name, values in rows.items()}
    if first.words != tokens.words:
        changed = {name: values for name, values in changed.items() if "ngram" not in name}
    if first.alphabet != tokens.alphabet:
        changed.pop("frontend.characters.weight", None)
    num_known, num_words = int((places_V[START:] >= 0).sum()), len(tokens.words) - START
    new = f"; {num_words - num_known:,} are new and begin with their mean" if num_known < num_words else ""
    return changed, f"; {num_known:,} of {num_words:,} words take their vector{new}"


def _rows(values: Tensor, places_V: Tensor) -> Tensor:
    """Return the rows at these places; at -1 the mean of those of words."""
    mean = values[START:].mean(0) if len(values) > START else values.mean(0)
    is_known_V = (places_V >= 0).view(-1, *[1] * (values.ndim - 1))
    return torch.where(is_known_V, values[places_V.clamp(min=0)], mean)
