"""``python -m agenthive``: the same as the command ``agenthive``."""

from agenthive.cli import main

if __name__ == "__main__":
    main()
