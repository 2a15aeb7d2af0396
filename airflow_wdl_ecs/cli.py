"""The command line: ``airflow-wdl-ecs COMMAND ...``, and the same as ``airflow wdl COMMAND ...``.

This module only finds the command and turns errors into messages and exit codes: 0 for success, 1 for what failed
while it ran, 2 for what its author or caller must change first, 130 for an interruption.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType
from typing import Any

from . import __version__
from .errors import AuthorError, InputsError, SettingsError, WdlEcsError

COMMANDS = (
    *("run", "report", "orphans", "clean", "doctor", "check", "inputs", "generate", "local", "standalone"),
    *("infrastructure", "prices"),
)
PROGRAM = "airflow-wdl-ecs"
DEBUG_VARIABLE = "AIRFLOW_WDL_ECS_DEBUG"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; gives the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        parser = build_parser(words[0] if words else None)
        options, rest = parser.parse_known_args(words)
        module = options.module
        options.program = PROGRAM
        refused = [word for word in rest if word.startswith("-") or not hasattr(module, "TRAILING")]
        if refused:
            parser.error(f"unrecognized arguments: {' '.join(refused)}")
        if rest:  # name=value words after an option
            getattr(options, module.TRAILING).extend(rest)
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 2
    return execute(module, options)


def execute(module: ModuleType, options: argparse.Namespace) -> int:
    """Run a command; gives the exit status. Errors are printed, without a traceback."""
    try:
        status: int = module.execute(options)
        sys.stdout.flush()
        return status
    except (AuthorError, InputsError, SettingsError) as error:
        return _complain(error, 2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read our output has enough of it; Python must not complain again when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (WdlEcsError, OSError) as error:
        return _complain(error, 1)
    except Exception as error:
        if os.environ.get(DEBUG_VARIABLE):
            raise
        print(f"{PROGRAM}: internal error: {type(error).__name__}: {error}", file=sys.stderr)
        print(f"this is a mistake of {PROGRAM}; with {DEBUG_VARIABLE}=1 it says where", file=sys.stderr)
        return 1


def _complain(error: Exception, status: int) -> int:
    words = str(error)
    if isinstance(error, OSError) and error.strerror:
        words = f"{error.filename}: {error.strerror}" if isinstance(error.filename, str) else error.strerror
    print(f"{PROGRAM}: {words}" if isinstance(error, OSError) else words, file=sys.stderr)
    return status


def build_parser(command: str | None) -> argparse.ArgumentParser:
    """The parser, with every command if ``command`` is none of them, else with that command alone (it is quicker)."""
    parser = argparse.ArgumentParser(prog=PROGRAM, description="Run WDL workflows on Amazon ECS from Apache Airflow.")
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name in (command,) if command in COMMANDS else COMMANDS:
        module = _command(str(name))
        found = commands.add_parser(module.NAME, help=module.HELP, description=(module.__doc__ or "").strip())
        found.formatter_class = argparse.RawDescriptionHelpFormatter
        for option in module.OPTIONS:
            option.add_to(found)
        found.set_defaults(module=module)
    return parser


def _command(name: str) -> ModuleType:
    return import_module(f".commands.{name}", __package__)


def airflow_commands() -> list[Any]:
    """The commands as Airflow's command line takes them from provider metadata (``cli``): ``airflow wdl COMMAND``."""
    from airflow.cli.cli_config import ActionCommand, Arg, GroupCommand

    subcommands = [
        ActionCommand(
            name=module.NAME,
            help=module.HELP,
            func=_AirflowCommand(module),
            args=tuple(Arg(flags=option.flags, **option.settings) for option in module.OPTIONS),
        )
        for module in map(_command, COMMANDS)
    ]
    return [GroupCommand(name="wdl", help="Run WDL workflows on Amazon ECS", subcommands=subcommands)]


class _AirflowCommand:
    """A command as a function that Airflow's command line calls with its parsed options."""

    def __init__(self, module: ModuleType) -> None:
        self.module = module
        self.__name__ = module.NAME

    def __call__(self, options: argparse.Namespace) -> None:
        sys.exit(execute(self.module, options))


if __name__ == "__main__":
    sys.exit(main())
