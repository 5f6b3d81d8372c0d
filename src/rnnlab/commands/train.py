"""Train one network, or fit one baseline (`src/train.py`).

Nothing heavy is imported before it is clear whether this process trains or starts the processes that do, and that the user's files can be
read.
"""

from rnnlab.data.early import read_early
from rnnlab.settings import TrainSettings
from rnnlab.training.launching import is_worker, launched


def train(settings: TrainSettings) -> float | None:
    """Train, continue `resume=RUN_ID`, or do a job of a study that is left to do; in one process or several.

    Returns:
        The task's metric on validation at the chosen checkpoint; None if there was nothing to do, a search stopped the trial, or other
        processes trained.

    Raises:
        ValueError: the user can mend it; the message says how.
        SystemExit: 130, 143 or 129 after SIGINT, SIGTERM or SIGHUP.
    """
    words = settings.words
    if settings.run.resume and not is_worker():
        from rnnlab.commands.tracked_training import resumed

        settings = resumed(settings)
    if settings.study.packed:
        from rnnlab.commands.packed_training import train_packed

        train_packed(settings)
        return None
    if launched(settings, words):
        return None
    if not is_worker():  # one of several waits for the leader, which reads first
        read_early(settings.data)
    from rnnlab.commands.tracked_training import train_here

    return train_here(settings)
