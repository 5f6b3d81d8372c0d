"""The errata's numbers, against those that were computed independently, in other code, when the texts were read."""

import json
import os
import re
import subprocess
import sys
from typing import Any

import pytest

from rnnlab.paths import HOME

pytestmark = pytest.mark.slow
CHECK = HOME / "experiments/errata/run.py"


@pytest.fixture(scope="module")
def answers() -> dict[str, dict[str, Any]]:
    """Return what every check computes."""
    environment = os.environ | {"PYTHONPATH": str(HOME / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(CHECK), "--json"], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("check", "label", "expected"),
    [
        ("worked_example", "W_h [h_0, x_1] + b_h (printed 0.65, 0.85)", [0.7, 1.0]),
        ("worked_example", "h_1 (printed 0.71, 0.86)", [0.6682, 0.7311]),
        ("worked_example", "sigmoid of the printed 0.65, 0.85", [0.6570, 0.7006]),
        ("worked_example", "W_o h_1 + b_o (printed 1.49)", 1.9526),
        ("worked_example", "the same sum from the printed h_1", 2.085),
        ("worked_example", "y_1 (printed 0.92)", 0.8757),
        ("worked_example", "sigmoid of the printed 1.49", 0.8161),
        ("adding_baseline", "exact", 0.1667),
        ("copying_baseline", "T = 200", 0.0945),
        ("copying_baseline", "T = 1000", 0.0204),
        ("softmax_of_one", "softmax of -5, 0, 5, each alone", [1.0, 1.0, 1.0]),
        ("silent_broadcast", "pairs averaged over, examples", [1000, 100]),
    ],
)
def test_numbers_that_are_given_to_four_digits_come_out(check: str, label: str, expected: object, answers: dict[str, Any]) -> None:
    assert answers[check][label] == pytest.approx(expected, abs=5e-5)


def test_hand_derived_values_equal_finite_differences(answers: dict[str, Any]) -> None:
    for check, label in (("input_gradient", "dy_1/dx_1, by hand"), ("sigmoid_derivative", "y (1 - y)")):
        differences = next(value for name, value in answers[check].items() if "finite difference" in name)
        assert answers[check][label] == pytest.approx(differences, rel=1e-6)
        assert answers[check][label] != pytest.approx(next(iter(answers[check].values())), abs=0.01)  # what is printed


def test_the_printed_gradients_are_wrong_and_the_right_ones_are_right(answers: dict[str, Any]) -> None:
    found = answers["softmax_squared_error"]
    printed = [value for name, value in found.items() if name.startswith("as printed")]
    assert len(printed) == 5
    assert all(2 < mean < 8 for mean, _, _ in printed)  # one network of other sizes: 5.4 to 7.5
    assert found["with (diag(y) - y y'), largest of all"] < 1e-7
    twice = answers["counted_twice"]
    for name, seen in (("W_hh", 0.10), ("W_xh", 0.17), ("b_h", 0.32)):  # in one network of other sizes
        _, least, most = twice[f"as printed, {name}"]
        assert least < seen < most
    assert twice["counted once, largest of all"] < 1e-7


def test_the_printed_sign_climbs_and_the_right_one_descends(answers: dict[str, Any]) -> None:
    before, climbing, descending, share = answers["ascent"].values()
    assert climbing > 100 * before  # 12.8 to 1,559 in the notes
    assert descending < before / 10  # 12.8 to 0.73
    assert share == "10 of 10"


def test_gradients_through_time_are_of_the_size_that_was_seen(answers: dict[str, Any]) -> None:
    found = {name: values[0] for name, values in answers["gradient_ratio"].items()}
    seen = {
        "lstm, PyTorch's initialisation": 1e-11,
        "gru, PyTorch's initialisation": 7e-11,
        "srnn, orthogonal": 6e-4,
        "lstm, forget bias 3": 4e-2,
    }
    assert all(size / 10 < found[name] < size * 10 for name, size in seen.items()), found
    assert found["lstm, PyTorch's initialisation"] < found["srnn, orthogonal"] < found["lstm, forget bias 3"]


def test_a_rectifier_carries_gradients_only_from_the_identity(answers: dict[str, Any]) -> None:
    found = answers["relu"]
    assert found["relu, PyTorch's initialisation"][2] < found["tanh, orthogonal"][1] / 1e20
    assert found["relu, orthogonal"][2] < found["tanh, orthogonal"][1]
    assert found["relu, He's, 1.3 times as large"][1] > 1e5
    assert 0.1 < found["relu, identity (Le et al. 2015)"][0] < 1


def test_clipping_bounds_an_exploding_gradient_and_gives_the_past_no_larger_share(answers: dict[str, Any]) -> None:
    found = answers["clipping"]
    shares = [value for name, value in found.items() if name.startswith("share")]
    assert shares[1][0] == pytest.approx(shares[0][0], rel=0.1)
    assert all(most < 1e-9 for _, _, most in shares)
    assert found["norm of an exploding gradient (relu, 1.3 times He's)"][1] > 1e6
    assert found["the same, clipped to 1"] == [1, 1, 1]


def test_unscaled_weights_saturate(answers: dict[str, Any]) -> None:
    radius, saturated = answers["random_matrix"].values()
    assert radius[0] == pytest.approx(7.2, abs=0.2)
    assert saturated[0] == pytest.approx(0.70, abs=0.03)


def test_sums_of_two_uniforms_have_the_exact_variance_and_not_the_printed_one(answers: dict[str, Any]) -> None:
    exact, simulated, error, printed = answers["adding_baseline"].values()
    assert abs(simulated - exact) < 4 * error
    assert abs(simulated - printed) > 50 * error


def test_adam_written_out_is_torchs_and_the_printed_rule_leaves_all_bounds(answers: dict[str, Any]) -> None:
    found = answers["adam_as_printed"]
    assert found["m / (sqrt(v) + eps)"] == pytest.approx(found["torch.optim.Adam"], rel=1e-9)
    assert max(map(abs, found["as printed"])) > 1e100


def test_the_rest_says_what_the_page_says(answers: dict[str, Any]) -> None:
    assert "size 3 is different from 2" in answers["worked_example_second_step"]["NumPy says"]
    assert answers["vstack_bracket"]["python"].startswith("SyntaxError")
    shapes = list(answers["printed_shapes"].values())
    assert [said.startswith("ValueError") for said in shapes] == [True, True, True, True, False, True]
    assert answers["matrix_product"]["row i of A with column i of B, 3 x 4 by 4 x 5"].startswith("IndexError")
    assert answers["matrix_product"]["largest difference of summed outer products"] < 1e-14
    always_one, whole, right = answers["binary_cross_entropy"].values()
    assert always_one < right < whole
    assert answers["sigmoid_everywhere"]["lowest memory in 10 networks of 200 steps"] > 0
    assert answers["sigmoid_everywhere"]["h / o, lowest and highest (tanh: -1 to 1)"][0] >= 0.5


def test_recorded_verdicts_are_printed_whole(answers: dict[str, Any]) -> None:
    found = answers["lstm_and_gru"]
    verdicts = {name: found[name] for name in ("djia", "jsb", "speech", "trec")}
    assert all(re.search(r"\(.*p [=<] [\d.]+ after correction\)$", verdict) for verdict in verdicts.values()), verdicts
    assert found["GRU trained on this CPU by oneDNN's kernel"] == "no"


def test_the_page_shows_every_check(answers: dict[str, Any]) -> None:
    page = (HOME / "docs/errata.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\[output: python experiments/errata/run.py (\w+)\]", page, re.MULTILINE)) == set(answers)
