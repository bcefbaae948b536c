"""``python -m cfa_lite``: the ``cfa-lite`` command."""

from .commands.main import main

if __name__ == "__main__":
    main(prog_name="cfa-lite")
