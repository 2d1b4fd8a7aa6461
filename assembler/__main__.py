"""`python -m assembler` is the command line."""

from assembler.cli import main

main()
