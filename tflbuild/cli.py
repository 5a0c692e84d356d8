"""The command line: options that all commands share, the verbs, and the one error boundary."""

from __future__ import annotations

import importlib
import os
import platform
import sys
import tempfile
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tflbuild import __version__, errors

if TYPE_CHECKING:
    from tflbuild.manifest.model import Workspace


@dataclass
class Settings:
    """What the options before the verb say."""

    directory: Path
    manifest: Path | None
    quiet: bool
    verbose: bool
    format: str

    @property
    def json(self) -> bool:
        return self.format == "json"

    def root_manifest(self) -> Path:
        """The workspace's root manifest. Raises UsageError."""
        if self.manifest is not None:
            path = self.directory / self.manifest
            if not path.is_file():
                raise errors.UsageError(f"no such manifest: {path}")
            return path
        from tflbuild.manifest.root import find_root_manifest

        return find_root_manifest(self.directory)


# One module for each verb; nothing of a verb is imported before it is used.
COMMANDS = ("build", "plan", "check", "evaluate", "validate", "inspect", "diff", "lock", "why",
            "log", "clean", "graph", "schema")  # fmt: skip
# What DESIGN plans and this version does not have.
PLANNED = ("verify", "reproduce", "bundle", "report", "watch", "init",
           "cache", "completion")  # fmt: skip
PLANNED_OPTIONS = ("--locked", "--no-cache", "--executor", "--affected-since", "--shard",
                   "--release", "--profile")  # fmt: skip
COMMON = (
    click.Option(["-C", "directory"], metavar="DIR", help="Change to DIR first."),
    click.Option(["-f", "manifest"], metavar="FILE", help="The root manifest."),
    click.Option(["-q", "quiet"], is_flag=True, help="Say only what went wrong."),
    click.Option(["-v", "verbose"], is_flag=True, help="Say more."),
    click.Option(["--format", "format_"], type=click.Choice(["text", "json"]),
                 help="How results are printed (default text)."),
)  # fmt: skip


class Verbs(click.Group):
    """Loads verbs late, takes the common options before and after the verb, and reads a line
    without a verb as `build`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"tflbuild.commands.{name}").command
        own = {parameter.name for parameter in command.params}
        command.params += [option for option in COMMON if option.name not in own]
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS:
            from difflib import get_close_matches

            if args[0] in PLANNED:
                raise click.UsageError(
                    f"{args[0]!r} is not there yet; there are {', '.join(COMMANDS)}"
                )
            near = get_close_matches(args[0], COMMANDS, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(COMMANDS)}"
            flags = "".join(f"-{name[0]} " for name in ("quiet", "verbose") if ctx.params.get(name))
            what = args[0] if flags and not near else "MODEL"
            raise click.UsageError(
                f"no command {args[0]!r}; {hint} (to build a model: tflbuild {flags}build {what})"
            )
        return super().resolve_command(ctx, args)


@click.group(
    cls=Verbs,
    invoke_without_command=True,
    params=list(COMMON),
    context_settings={"help_option_names": ["-h", "--help"]},
    help="make for on-device models: rebuilds exactly the .tflite files whose inputs changed,"
    " and releases one only when its evaluation and its validation pass.",
)
@click.version_option(__version__, prog_name="tflbuild")
@click.pass_context
def main(ctx: click.Context, /, **options: object) -> object:
    """Keep the common options; without a verb, build. The verb's exit code."""
    ctx.obj = dict(options)
    if ctx.invoked_subcommand is not None:
        return None
    command = ctx.command
    assert isinstance(command, click.Group)
    build = command.get_command(ctx, "build")
    assert build is not None
    return ctx.invoke(build)


def settings(ctx: click.Context, own: dict[str, object]) -> Settings:
    """The common options: those after the verb win over those before it."""
    before = ctx.obj if isinstance(ctx.obj, dict) else {}

    def value(name: str) -> object:
        after = own.pop(name, None)
        return after if after else before.get(name)

    directory = Path(str(value("directory") or "."))
    if not directory.is_dir():
        raise errors.UsageError(f"-C: no such folder: {directory}")
    manifest = value("manifest")
    return Settings(
        directory.resolve() if str(directory) != "." else Path.cwd(),
        Path(str(manifest)) if manifest else None,
        bool(value("quiet")),
        bool(value("verbose")),
        str(value("format_") or "text"),
    )


def warn_of_stray_manifest(common: Settings, workspace: Workspace) -> None:
    """Say it when somebody stands beside a manifest that no other includes."""
    from tflbuild.manifest.root import stray_manifest

    stray = None if common.manifest else stray_manifest(workspace, common.directory)
    if stray is not None and not common.quiet:
        click.echo(f"warning: {stray}", err=True)


def with_verb(arguments: Sequence[str]) -> list[str]:
    """A line whose first option is build's own (`tflbuild -k -j4`) means `build`."""
    index = 0
    while index < len(arguments):
        word = arguments[index]
        if word in ("-C", "-f", "--format"):
            index += 2
        elif word in ("-q", "-v") or word.startswith(("--format=", "-C", "-f")):
            index += 1
        elif word.startswith("-") and word not in ("-h", "--help", "--version"):
            return ["build", *arguments]
        else:
            break
    return list(arguments)


def run(arguments: Sequence[str]) -> int:
    """Run one command line; the exit code. The only place that turns errors into exit codes."""
    try:
        for word in arguments:
            if word.partition("=")[0] in PLANNED_OPTIONS:
                raise errors.UsageError(f"{word.partition('=')[0]} is not there yet")
        result = main.main(args=with_verb(arguments), prog_name="tflbuild", standalone_mode=False)
        return result if isinstance(result, int) else errors.EXIT_OK
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return errors.EXIT_USAGE
    except click.ClickException as error:
        print(f"tflbuild: {error.format_message()}", file=sys.stderr)
        return errors.EXIT_USAGE
    except errors.TflbuildError as error:
        for line in str(error).splitlines():
            print(f"tflbuild: {line}", file=sys.stderr)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        print("tflbuild: interrupted", file=sys.stderr)
        return errors.EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone: there is nobody to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return errors.EXIT_FAILED
    except Exception as error:
        return _fault(error, arguments)


def _fault(error: Exception, arguments: Sequence[str]) -> int:
    """A fault in tflbuild itself: everything that a report needs goes into a file."""
    text = (
        f"tflbuild {__version__}\npython {sys.version}\nplatform {platform.platform()}\n"
        f"arguments {list(arguments)}\n\n{traceback.format_exc()}"
    )
    with tempfile.NamedTemporaryFile(
        "w", prefix="tflbuild-fault-", suffix=".log", delete=False
    ) as log:
        log.write(text)
    print(
        f"tflbuild: a fault in tflbuild itself: {type(error).__name__}: {error}"
        f" (please report it with {log.name})",
        file=sys.stderr,
    )
    return errors.EXIT_FAULT
