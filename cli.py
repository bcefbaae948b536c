"""Run from a checkout without installing: ``python cli.py fit good/ -o part.cfa``."""

from cfa_lite.commands.main import main

if __name__ == "__main__":
    main()
