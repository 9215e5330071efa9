"""The contest of one network, as a process of its own runs it."""

from __future__ import annotations

import sys
from typing import Any

from . import fashion
from .cases import CASES, EPOCH, random_problem
from .contest import DisagreementError, Limits, contest
from .peer import LeftOut


def main(arguments: dict[str, Any]) -> dict[str, Any]:
    """`network`, `dtype`, `threads`, `form`, `peers`, `rounds`, `seconds` to a row of the JSON file.

    Exits with 1 where a peer did other work, or kept more cores busy than it was given threads.
    """
    case = CASES[arguments["network"]]
    dtype, threads = arguments["dtype"], arguments["threads"]
    try:
        problem = fashion.problem(dtype) if case.kind == EPOCH else random_problem(case, dtype)
    except LeftOut as error:
        return {"skipped": str(error)}
    limits = Limits(arguments["rounds"], arguments["seconds"])
    try:
        row = contest(problem, threads, form=arguments["form"], peers=arguments["peers"], limits=limits)
    except DisagreementError as error:
        sys.exit(f"error: {error}")
    for peer in row["peers"].values():
        if peer["cores"] > threads + 0.1:
            sys.exit(f"error: {peer['name']} kept {peer['cores']:.2f} cores busy with {threads} thread(s)")
    return row
