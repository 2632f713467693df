"""``python -m model``."""

from model.cli import main

if __name__ == "__main__":  # worker processes of the synthetic corpus import this module, too
    main()
