"""`python -m rnnlab` is the command `rnnlab`."""

from rnnlab.console import main

if __name__ == "__main__":
    main()
