"""Whether work is recognised, and its changes noticed: of `lyredb.autotune.evaluation`."""

from __future__ import annotations

from lyredb.autotune import evaluation, table
from lyredb.autotune.evaluation_text import grids
from lyredb.autotune.judging.circumstances import Circumstances
from lyredb.autotune.judging.figures import Figure, Part


def judge(circumstances: Circumstances) -> Part:
    """Evaluates the package's table."""
    found = evaluation.evaluate(
        table.load(None),
        quick=circumstances.quick,
        processes=circumstances.processes,
        seed=circumstances.seed,
        traces=None,
        phases=False,
        say=lambda _: None,
    )
    figures = [
        Figure("macro-F1 of pure workloads held back", found.pure.macro_f1, 0.95),
        Figure("macro-F1 of the main kind of mixtures held back", found.mixed.macro_f1, 0.85),
    ]
    if found.run_pure is not None:
        figures.append(Figure("macro-F1 of new pure workloads, run", found.run_pure.macro_f1, 0.95))
    for title, by_shift in (("held back, joined", found.joined), ("new, run", found.run)):
        alarms = by_shift["another kind"]
        if alarms.shifts:
            name = f"alarm within {evaluation.IN_TIME} windows, {title}"
            figures.append(Figure(name, alarms.in_time, 0.95, form=".1%"))
        figures.append(
            Figure(f"false alarms in 1,000 windows, {title}", alarms.false_per_1000, 1.0, at_least=False, form=".2f")
        )
    # The first table has the same figures.
    return Part(figures, grids(found)[1:], found.as_dict())
