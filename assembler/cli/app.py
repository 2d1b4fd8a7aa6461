"""The list of verbs, and how the one that is called is found: the others are not even imported."""

from __future__ import annotations

import functools
import importlib
import inspect
import keyword
from collections.abc import Callable
from types import ModuleType
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from assembler import __version__
from assembler.cli import guard
from assembler.cli.options import Json, Plugins
from assembler.errors import near

VERBS = (
    *(
        "new",
        "run",
        "plan",
        "lint",
        "show",
        "cuts",
        "build",
        "train",
        "search",
        "rewrite",
        "merge",
        "verify",
        "export",
        "report",
    ),
    *("status", "steer", "why", "diff", "pick"),
    *("ls", "ops", "parts", "schema", "fmt", "import", "bench"),
)


class Verbs(TyperGroup):
    """Imports a verb's module when the verb is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Every verb, in the order of `--help`."""
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name; an unknown one ends with exit code 2 and the nearest names."""
        if cmd_name not in VERBS:
            ctx.fail(f"there is no verb '{cmd_name}'; {near(cmd_name, VERBS) or 'verbs: ' + ', '.join(VERBS)}")
        return typer.main.get_command(_typer(cmd_name))


def _typer(verb: str) -> typer.Typer:
    """A verb as typer knows it: the function that its module is named after, or the functions that `VERBS` names."""
    module = importlib.import_module(f"assembler.cli.verbs.{verb}{'_' * keyword.iskeyword(verb)}")
    several: tuple[str, ...] = getattr(module, "VERBS", ())
    found = typer.Typer(**_PLAIN, name=verb, help=module.__doc__ if several else None, no_args_is_help=bool(several))
    for name in several or (verb,):
        found.command(name)(_with_common(_function(module, name)))
    return found


def _with_common(verb: guard.Verb) -> Callable[..., None]:
    """The verb as a command: `--plugin` and `--json` added, errors shown."""

    @functools.wraps(verb)
    def command(*, plugin: Any, as_json: bool, **options: Any) -> None:
        guard.call(verb, options, plugin or (), as_json)

    signature = inspect.signature(verb, eval_str=True)
    common = [_option("plugin", Plugins, None), _option("as_json", Json, False)]
    full = signature.replace(parameters=[*signature.parameters.values(), *common])
    command.__signature__ = full  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in full.parameters.values()}
    return command


def _option(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=annotation)


def _function(module: ModuleType, name: str) -> Any:
    return getattr(module, name, None) or getattr(module, f"{name}_")  # `ls_` where the plain name means something


_PLAIN: dict[str, Any] = {"add_completion": False, "rich_markup_mode": None, "pretty_exceptions_enable": False}
app = typer.Typer(**_PLAIN, cls=Verbs, no_args_is_help=True)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"assembler {__version__}")
        raise typer.Exit


@app.callback()
def assembler(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Assemble models from YAML recipes and search over their trained parts.

    \b
        assembler run quickstart
        assembler VERB --help
    """  # fmt: skip
