"""Train a GRU on questions with no, batch and layer normalisation, at learning rates from too small to too large, without clipping.

python experiments/batch_norm/run.py     a job that has run before is not run again; afterwards: summarise.py
"""

import subprocess
import sys

from rnnlab.paths import HOME

RATES = (0.001, 0.01, 0.1)
CENTRE = "model=gru data=trec model.recurrence.hidden_size=64 epochs=3 trainer.gradient_clip_val=null tracking.log_model=false seed=0,1,2"
KINDS = {"none": "", "batch": "model.recurrence.has_batch_norm=true", "layer": "model.recurrence.has_layer_norm=true"}


def run(kind: str) -> None:
    """Run the sweep of one kind of normalisation.

    Raises:
        SystemExit: if it failed.
    """
    rates = ",".join(map(str, RATES))
    words = [*CENTRE.split(), *KINDS[kind].split(), f"optimizer.lr={rates}", f"study.name=steady_{kind}"]
    if code := subprocess.run([sys.executable, str(HOME / "src/train.py"), "-m", *words]).returncode:
        raise SystemExit(code)


def main() -> None:
    """Run all sweeps."""
    for kind in KINDS:
        run(kind)


if __name__ == "__main__":
    main()
