"""Claims that take a training, or a quiet machine, to check: numbers of recorded runs."""

CHECKS = ()
