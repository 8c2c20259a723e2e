"""What a cache of a given size would be worth: curves of miss ratios, and replacement policies tried on traces.

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
from lyredb.tiering.replacement import POLICIES, Policy, simulate

__all__ = ["POLICIES", "MissRatioCurve", "Policy", "simulate"]
