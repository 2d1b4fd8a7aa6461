"""`assembler schema`: recipes as JSON Schema."""

from __future__ import annotations

import json
from typing import Any

from assembler.cli import say


def schema() -> dict[str, Any] | None:
    """Print the JSON Schema of recipes, for editors.

    It knows every key, op and argument.

    \b
        assembler schema > assembler.schema.json
    """
    from assembler.schema import schema as recipe_schema

    found = recipe_schema()
    say.line(json.dumps(found, indent=1))
    return found
