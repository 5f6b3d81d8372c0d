"""Pieces continued: by a model whose answers are known, and what the picture shows."""

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import Tensor

from rnnlab.contracts import Batch, DataSpec
from rnnlab.insight.continuation import continue_piece, continue_steps, draw_continuation, piano_rolls
from rnnlab.models.base import Network, Predictor, SequenceModule
from rnnlab.paths import file_name
from rnnlab.tasks import Regularisation, make_task

KEYS = DataSpec("toy", "features", 3, "labels_per_step", 3, ("C4", "D4", "E4"), (1, 1, 1), is_causal=True)
CLASSES = DataSpec("toy", "features", 3, "class", 3, ("a", "b", "c"), (1, 1, 1))
PIECE = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0]], dtype=torch.float)


class Upwards(Predictor):
    """Say that each key is followed by the next one, with a chance for it and another for all else."""

    def __init__(self, spec: DataSpec, chance: float, other: float) -> None:
        super().__init__(spec, make_task(spec, Regularisation(0.0, "none", 0.0)))
        self.chances = torch.tensor([other, chance])

    def predict(self, batch: Batch) -> Tensor:
        return self.chances.logit()[batch.inputs.roll(1, -1).long()]


def test_the_most_probable_keys_follow_one_from_the_other() -> None:
    found = continue_piece(Upwards(KEYS, 0.6, 0.4), PIECE[:2], 4, None)
    assert found.tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]]


def test_drawn_keys_come_as_often_as_their_chances_say_and_from_the_seed_alone() -> None:
    model = Upwards(KEYS, 0.7, 0.7)
    first, again, other = (continue_piece(model, PIECE, 600, seed) for seed in (3, 3, 4))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert first.mean(0).tolist() == pytest.approx([0.7] * 3, abs=0.06)


@pytest.mark.parametrize("words", ["model=gru", "model=lstm", "model=srnn", "model=tcn model.convolutions.is_causal=true"])
def test_a_network_that_reads_on_adds_the_steps_that_it_would_add_if_it_read_all_again(words: str, network: Callable[..., Network]) -> None:
    model = network("keys", words)
    assert isinstance(model, SequenceModule)
    piece = PIECE.double()
    for step in continue_piece(model, piece, 12, None):
        length = torch.tensor([len(piece)])
        outputs = model.predict(Batch(piece[None], length, piece[None], length, torch.zeros(1, dtype=torch.long)))
        assert isinstance(outputs, Tensor) and torch.equal((outputs[0, -1] >= 0).double(), step)
        piece = torch.cat([piece, step[None]])


def test_a_low_temperature_draws_what_is_probable_and_a_high_one_tosses_a_coin() -> None:
    model = Upwards(KEYS, 0.8, 0.2)
    steps = {temperature: torch.stack([*islice(continue_steps(model, PIECE, 1, temperature), 400)]) for temperature in (0, 0.05, 1000.0)}
    assert torch.equal(steps[0], steps[0.05]) and torch.equal(steps[0], continue_piece(model, PIECE, 400, None))
    assert steps[1000.0].mean().item() == pytest.approx(0.5, abs=0.05)


def test_a_run_on_other_data_cannot_go_on_with_a_piece() -> None:
    with pytest.raises(ValueError, match=r"^only a run on music can go on with a piece"):
        continue_piece(Upwards(CLASSES, 0.6, 0.4), PIECE, 2, None)


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Collect what is drawn."""
    found: list[Figure] = []
    save = Figure.savefig

    def remember(self: Figure, file: Path, dpi: int) -> None:
        found.append(self)
        save(self, file, dpi=dpi)

    monkeypatch.setattr(Figure, "savefig", remember)
    return found


def shown(figure: Figure) -> dict[str, np.ndarray]:
    """Return what each panel shows, by its title."""
    return {axes.get_title("left"): np.asarray(axes.get_images()[0].get_array()) for axes in figure.axes if axes.get_title("left")}


def test_a_picture_shows_the_piece_both_continuations_and_what_was_expected(figures: list[Figure], tmp_path: Path) -> None:
    added = draw_continuation(Upwards(KEYS, 0.8, 0.1), PIECE, 2, 3, 0, tmp_path / "deep" / "a.png")
    assert (tmp_path / "deep" / "a.png").read_bytes().startswith(b"\x89PNG")
    panels = shown(figures[0])
    assert list(panels) == [
        "the piece",
        "drawn by its chances",
        "keys at 50 % and more",
        "chance of each key, given the piece's own steps before",
    ]
    assert panels["the piece"].T.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 2], [2, 0, 0], [0, 2, 0]]  # given is grey, added is blue
    assert panels["keys at 50 % and more"].T[2:].tolist() == [[0, 0, 2], [2, 0, 0], [0, 2, 0]]
    assert np.array_equal(panels["drawn by its chances"].T[2:], 2 * added.numpy())
    assert panels["chance of each key, given the piece's own steps before"].T[0].tolist() == pytest.approx([0.1, 0.8, 0.1])


def test_nothing_but_the_continuation_is_drawn_where_the_piece_ends(figures: list[Figure], tmp_path: Path) -> None:
    draw_continuation(Upwards(KEYS, 0.8, 0.1), PIECE, 5, 3, 0, tmp_path / "a.png")
    assert "the piece" not in shown(figures[0])


@pytest.mark.parametrize("keys", [tuple(map(str, range(88))), tuple(f"k{n}" for n in range(88))])
def test_only_keys_that_sound_are_drawn_and_a_silent_piece_is_drawn_too(
    keys: tuple[str, ...], figures: list[Figure], tmp_path: Path
) -> None:
    roll = np.zeros((7, 88), dtype=np.uint8)
    piano_rolls(roll, {"silence": roll[:2]}, None, keys, tmp_path / "a.png")
    assert shown(figures[0])["silence"].shape == (88, 9)
    roll[3, [40, 44]] = 1
    piano_rolls(roll, {"sound": roll[:2]}, None, keys, tmp_path / "a.png")
    assert shown(figures[1])["sound"].shape == (7, 9)


def test_a_piece_s_name_becomes_a_file_s_name() -> None:
    assert file_name("test/my piece: 1") == "test_my_piece__1"
