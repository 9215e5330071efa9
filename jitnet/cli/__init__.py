"""The command line, `jitnet` or `python -m jitnet`: `main` turns whatever goes wrong into one line and an exit code.

Exit codes: 0 done; 1 training diverged; 2 bad input (an option, a file, a column), nothing was done; 130 interrupted;
141 the reader of standard output left.

    commands.py   the commands and their options
    train.py      from the options of `train` to data, network and optimiser
    model.py      a network with its preparation: tables in, answers and judgements out
    files.py      data read, results written
    report.py     what is printed
"""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from jitnet.errors import DivergenceError, InputError, MissingExtraError, require

OPTIONS = (
    "target|features|task|activation|output|loss|optimizer|lr|epochs|batch_size|dropout|l1|l2|weight_decay|clip_norm|"
    "standardize_target|test_fraction|patience|dtype|seed|threads|form|delimiter"
)
"""Arguments of the library that are options here."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command with these arguments (default: the process's); its exit code. Never a traceback for bad input."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    with _one_line_warnings():
        try:
            for module in ("typer", "rich"):
                require(module, "cli")
            from jitnet.cli.commands import run

            code = run(arguments)
            if sys.stdout is not None:
                sys.stdout.flush()
            return code
        except BrokenPipeError:
            # What is left in the buffer would raise again when Python closes standard output.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 141
        except KeyboardInterrupt:
            return 130
        except DivergenceError as error:
            _say("error", str(error))
            return 1
        except OSError as error:
            _say("error", f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error))
            return 2
        except (InputError, MissingExtraError) as error:
            _say("error", str(error))
            return 2


@contextmanager
def as_options() -> Iterator[None]:
    """Where the library refuses one of its arguments, name the option that it came from."""
    try:
        yield
    except InputError as error:
        raise InputError(in_options(str(error))) from None


def in_options(message: str) -> str:
    """A message of the library in the words of the command line: ``Adam lr: -1 given`` is ``--lr: -1 given``."""

    def option(found: re.Match[str]) -> str:
        return f"--{found['name'].replace('_', '-')}"

    message = re.sub(rf"^(?:\w+ )?(?P<name>{OPTIONS})(?=(\[\d+\])?:)", option, message)
    message = message.replace("batch_size=None", "--batch-size all")
    return re.sub(rf"\b(?P<name>{OPTIONS})[= ]'(?P<value>\w+)'", lambda m: f"{option(m)} {m['value']}", message)


def _say(kind: str, message: str) -> None:
    """One line on standard error, whatever is in the message."""
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in message)
    print(f"{kind}: {text}", file=sys.stderr)


@contextmanager
def _one_line_warnings() -> Iterator[None]:
    """Show jitnet's warnings as one line each, and no others: they are about code that the user does not see."""

    def show(message: Warning | str, *_: object, **__: object) -> None:
        _say("warning", in_options(str(message)))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", UserWarning)
        warnings.filterwarnings("always", message="jitnet:", category=RuntimeWarning)
        warnings.showwarning = show
        yield
