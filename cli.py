"""Runs the command line from a bare checkout: `python cli.py run quickstart`."""

from assembler.cli import main

if __name__ == "__main__":
    main()
