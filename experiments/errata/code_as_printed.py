"""Lines of code as printed, run as far as they go: what Python and NumPy say."""

from collections.abc import Callable

import numpy as np


def said(run: Callable[[], object]) -> str:
    """Return the error of something that is called."""
    try:
        run()
    except (SyntaxError, ValueError) as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"
    return "no error"


def vstack_bracket() -> dict[str, object]:
    """np.vstack([x, 1]] closes a bracket that is not open."""
    return {"python": said(lambda: compile("hidden = np.vstack([x, 1]]", "<text>", "exec"))}


def printed_shapes() -> dict[str, object]:
    """Products as printed, on arrays of the sizes that the texts give."""
    ones = np.ones
    return {
        "W_in (2, 100) of a column (101, 1)": said(lambda: ones((2, 100)) @ ones((101, 1))),
        "W_out (100, 100) of a column (101, 1)": said(lambda: ones((100, 100)) @ ones((101, 1))),
        "np.dot(W, x[t]), W (10, 50), x[t] (10,)": said(lambda: np.dot(ones((10, 50)), ones(10))),
        "np.dot(V, h), V (50, 10), h (50,)": said(lambda: np.dot(ones((50, 10)), ones(50))),
        "x[t] @ W": str((ones(10) @ ones((10, 50))).shape),
        "targets (200, 1) - outputs (200, 10, 1)": said(lambda: ones((200, 1)) - ones((200, 10, 1))),
    }


def silent_broadcast() -> dict[str, object]:
    """Outputs at all 10 steps against one target an example: no error, and every step of an example is compared with its target."""
    outputs, targets = np.zeros((100, 10, 1)), np.arange(100.0)[:, None]
    difference = outputs[..., 0] - targets
    return {"shape of the difference": str(difference.shape), "pairs averaged over, examples": [difference.size, len(targets)]}


CHECKS = (vstack_bracket, printed_shapes, silent_broadcast)
