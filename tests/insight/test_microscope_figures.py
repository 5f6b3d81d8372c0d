"""The microscope's pictures show the numbers that were noted, whatever a run can have."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure

from rnnlab.insight import microscope_figures
from rnnlab.insight.observations import Observation, flow_table, series

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Figure | None]:
    """Draw a picture and return its figure, or None where nothing was drawn."""
    figures: list[Figure] = []
    save = Figure.savefig

    def remember(self: Figure, file: Path, dpi: int) -> None:
        figures.append(self)
        save(self, file, dpi=dpi)

    monkeypatch.setattr(Figure, "savefig", remember)

    def draw(picture: Callable[..., None], *arguments: object) -> Figure | None:
        picture(*arguments, tmp_path / "picture.png")
        if not figures:
            assert not (tmp_path / "picture.png").exists()
            return None
        assert (tmp_path / "picture.png").read_bytes().startswith(PNG)
        return figures[-1]

    return draw


def sample(step: int, curve: list[float], horizon: float, layer: str = "layer1") -> Observation:
    numbers = {f"gradient_horizon_{layer}": horizon, "grad_norm/total": 2.0, "grad_norm/layer1.weight_hh": 1.0}
    numbers |= {"grad_norm_clipped/total": 1.0, "clipped_share": 0.25, "spectral_radius/layer1.reset": 0.6, "dead_units/layer1": 0.5}
    numbers |= {"gate_mean/layer1.reset": 0.4, "gate_saturated/layer1.reset": 0.1}
    return Observation(step, numbers, {f"{layer}/total": np.array(curve), f"{layer}/from_last": np.array(curve) / 10})


SAMPLES = [sample(0, [1.0, 0.1, 0.01], 0.43), sample(50, [1.0, 1e-3, 0.0], 0.1), sample(70, [1e2, 1e2, 1e2], 3.0)]


def test_the_heat_map_has_a_column_a_sample_and_a_row_a_step_back(drawn: Callable[..., Figure]) -> None:
    figure = drawn(microscope_figures.gradient_flow, SAMPLES, None)
    left, right, *bars = figure.axes
    (mesh,) = left.collections
    values = np.asarray(mesh.get_array()).reshape(3, 3)
    np.testing.assert_allclose(values[:, 0], [0, -1, -2])
    np.testing.assert_allclose(values[:, 2], [2, 2, 2])
    assert values[2, 1] < -10  # what is zero has the lowest colour
    np.testing.assert_allclose(np.asarray(right.collections[0].get_array()).reshape(3, 3)[:, 2], [1, 1, 1])
    line = right.get_lines()[-1]
    assert (list(np.asarray(line.get_xdata())), list(np.asarray(line.get_ydata()))) == ([0, 50, 70], [0.43, 0.1, 3.0])
    assert left.get_ylabel() == "layer 1\nsteps back from the end\n(recurrent steps)"
    assert right.get_xlabel() == "optimizer step"
    assert sorted(bar.get_ylabel() for bar in bars) == ["log10 of |dL/dh|", "log10 of |g_k| / |g_0|"]


def test_columns_meet_halfway_between_samples(drawn: Callable[..., Figure]) -> None:
    figure = drawn(microscope_figures.gradient_flow, SAMPLES, 20.0)
    (mesh,) = figure.axes[0].collections
    assert isinstance(mesh, QuadMesh)
    edges = np.unique(mesh.get_coordinates()[..., 0])
    assert edges.tolist() == [0, 25, 60, 70]
    assert "recurrent steps of 20 ms" in figure.axes[0].get_ylabel()


@pytest.mark.parametrize(
    "samples",
    [
        SAMPLES[:1],
        [sample(0, [0.0, 0.0], 0.0)],
        [sample(0, [np.inf, 1.0], 2.0), sample(1, [np.nan, 1.0], 1.0)],
        [sample(0, [1.0, 0.5], 1.0), sample(9, [1.0, 0.5, 0.2], 1.0)],
    ],
)
def test_whatever_was_seen_is_drawn(samples: list[Observation], drawn: Callable[..., Figure]) -> None:
    assert drawn(microscope_figures.gradient_flow, samples, None) and drawn(microscope_figures.gradient_norms, samples, None)


def test_where_there_is_no_recurrence_only_norms_are_drawn(drawn: Callable[..., Figure | None]) -> None:
    bare = [Observation(0), Observation(50, {"grad_norm/total": 2.0, "grad_norm_clipped/total": 1.0, "clipped_share": 1.0})]
    assert drawn(microscope_figures.gradient_flow, bare, None) is None
    assert drawn(microscope_figures.recurrent_matrices, bare) is None and drawn(microscope_figures.gates, bare) is None
    assert drawn(microscope_figures.gates_in_time, {}, None) is None
    assert drawn(microscope_figures.gradient_norms, bare, 1.0)


def test_norms_are_drawn_before_and_after_clipping_with_its_limit(drawn: Callable[..., Figure]) -> None:
    left, right = drawn(microscope_figures.gradient_norms, SAMPLES, 1.5).axes
    found = {line.get_label(): list(np.asarray(line.get_ydata())) for line in left.get_lines()}
    assert (
        found["all together"] == [2, 2, 2]
        and found["all, after clipping"] == [1, 1, 1]
        and found["layer1.weight_hh"] == [1, 1, 1]
        and found["clipping at 1.5"] == [1.5, 1.5]
    )
    assert list(np.asarray(right.get_lines()[0].get_ydata())) == [25, 25, 25]


def test_gates_and_matrices_are_drawn_by_name(drawn: Callable[..., Figure]) -> None:
    left, right = drawn(microscope_figures.gates, SAMPLES).axes
    assert [list(np.asarray(axes.get_lines()[0].get_ydata())) for axes in (left, right)] == [[0.4] * 3, [pytest.approx(10)] * 3]
    assert left.get_ylabel().startswith("layer 1") and left.get_legend().get_texts()[0].get_text() == "reset"
    left, right = drawn(microscope_figures.recurrent_matrices, SAMPLES).axes
    assert [list(np.asarray(axes.get_lines()[0].get_ydata())) for axes in (left, right)] == [[0.6] * 3, [50] * 3]
    assert left.get_legend().get_texts()[0].get_text() == "layer1.reset"


def test_gates_in_time_are_drawn_over_seconds_where_steps_are_time(drawn: Callable[..., Figure]) -> None:
    means = {"layer1.reset": np.array([0.1, 0.2, 0.3]), "layer1.update": np.array([0.5, 0.5, 0.5]), "layer2.reset": np.array([0.4, 0.4])}
    first, second = drawn(microscope_figures.gates_in_time, means, 20.0).axes
    assert first.get_xlabel() == "time (s)" and second.get_ylabel().startswith("layer 2")
    assert list(np.asarray(first.get_lines()[0].get_xdata())) == pytest.approx([0, 0.02, 0.04])
    assert drawn(microscope_figures.gates_in_time, means, None).axes[0].get_xlabel() == "recurrent step"


def test_trajectories_lie_in_the_plane_of_the_largest_spread(drawn: Callable[..., Figure]) -> None:
    times = np.arange(6.0)
    plane = np.stack([3 * np.cos(times), np.sin(times)], 1)
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))
    hidden = [plane[:4] @ turn[:2], plane @ turn[:2]]
    figure = drawn(microscope_figures.trajectories, hidden, ["b", "a"], None)
    line = figure.axes[0].get_lines()[0]
    ours = np.stack([line.get_xdata(), line.get_ydata()], 1)
    np.testing.assert_allclose(np.linalg.norm(np.diff(ours, axis=0), axis=1), np.linalg.norm(np.diff(plane[:4], axis=0), axis=1))
    assert figure.axes[1].get_xlabel().startswith("first component (") and "100%" not in figure.axes[1].get_xlabel()
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["a", "b"]


@pytest.mark.parametrize(
    "hidden", [[np.ones((3, 1))], [np.zeros((4, 3)), np.zeros((2, 3))], [np.random.default_rng(0).normal(size=(1, 2))]]
)
def test_any_states_are_drawn(hidden: list[np.ndarray], drawn: Callable[..., Figure]) -> None:
    assert drawn(microscope_figures.trajectories, hidden, None, 10.0)


def test_samples_survive_a_checkpoint_that_holds_no_code(tmp_path: Path) -> None:
    torch.save([sample.state() for sample in SAMPLES], tmp_path / "state.pt")
    states = torch.load(tmp_path / "state.pt", weights_only=True)
    for before, state in zip(SAMPLES, states, strict=True):
        after = Observation.of_state(state)
        assert (after.step, after.numbers) == (before.step, before.numbers)
        assert all(np.array_equal(after.curves[name], curve) for name, curve in before.curves.items())


def test_series_are_points_by_the_rest_of_a_name() -> None:
    found = series(SAMPLES, "grad_norm/")
    assert set(found) == {"total", "layer1.weight_hh"}
    assert [part.tolist() for part in found["total"]] == [[0, 50, 70], [2, 2, 2]]


def test_the_table_has_a_row_for_each_step_back_of_each_layer() -> None:
    table = flow_table([sample(5, [1.0, 0.5], 1.0), sample(7, [1.0, 0.5, 0.2], 1.0, "layer2")])
    assert table.columns.tolist() == ["step", "layer", "steps_back", "total", "from_last"]
    assert list(table.itertuples(index=False, name=None))[-1] == (7, "layer2", 2, 0.2, pytest.approx(0.02))
    assert len(table) == 5
    assert isinstance(flow_table([]), pd.DataFrame) and flow_table([]).empty
