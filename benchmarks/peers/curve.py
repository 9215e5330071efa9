"""One curve of `scripts/curves.py`, as a process of its own runs it: a contest at each point."""

from __future__ import annotations

import sys
from typing import Any

from .cases import Case, random_problem
from .contest import DisagreementError, Limits, contest


def case_of(widths: list[int], batch: int) -> Case:
    """A regression with tanh, trained by Adam on random batches of 8192 data points at least."""
    name = f"{'-'.join(map(str, widths))}, batch {batch}"
    settings = {"activation": "tanh", "output": "identity", "loss": "half_squared_error"}
    return Case(name, tuple(widths), batch, max(8192, 2 * batch), 0.0, 0.0, **settings)


def main(arguments: dict[str, Any]) -> dict[str, Any]:
    """`points` ([widths, batch] each), `dtype`, `threads`, `peers`, `rounds`, `seconds` to `rows`, as in contest.py.

    Exits with 1 where a peer did other work than jitnet.
    """
    limits, rows = Limits(arguments["rounds"], arguments["seconds"]), []
    for widths, batch in arguments["points"]:
        problem = random_problem(case_of(widths, batch), arguments["dtype"])
        print(f"{problem.case.name}, {arguments['threads']} thread(s)", file=sys.stderr, flush=True)
        try:
            rows.append(contest(problem, arguments["threads"], peers=arguments["peers"], limits=limits))
        except DisagreementError as error:
            sys.exit(f"error: {error}")
    return {"rows": rows}
