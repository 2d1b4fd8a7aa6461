"""The verbs, one a file: a function whose arguments are the options, and which returns what `--json` prints."""
