"""What a cache of a given size would be worth, and how memory is divided for it.

Curves of miss ratios, replacement policies tried on traces, and plans from curves and measured costs.

>>> from lyredb import tiering
>>> trace = [key for _ in range(10) for key in range(100)]
>>> curve = tiering.MissRatioCurve()
>>> curve.access(trace)
>>> curve.miss_ratio(99), round(curve.miss_ratio(100), 3)
(1.0, 0.1)
>>> tiering.simulate(trace, 50, "second_chance"), tiering.simulate(trace, 50) > 300
(0, True)
"""

from lyredb.tiering.curve import MissRatioCurve
from lyredb.tiering.plan import Costs, Curves, Fixed, Hits, Plan, Sizes, Split, Tiers, plan, what_if
from lyredb.tiering.replacement import POLICIES, Policy, simulate

__all__ = [
    "POLICIES",
    "Costs",
    "Curves",
    "Fixed",
    "Hits",
    "MissRatioCurve",
    "Plan",
    "Policy",
    "Sizes",
    "Split",
    "Tiers",
    "plan",
    "simulate",
    "what_if",
]
