"""Work recognised while it runs, and settings for it.

`lyredb.open(path, autotune=True)` starts it, and `db.autotune` is its `Tuner`. It takes `pip install
'lyredb[autotune]'`.
"""

from lyredb.autotune.journal import Decision
from lyredb.autotune.kinds import KINDS, UNKNOWN, Recognition
from lyredb.autotune.status import FamilyStatus, Status
from lyredb.autotune.tuner import Tuner

__all__ = ["KINDS", "UNKNOWN", "Decision", "FamilyStatus", "Recognition", "Status", "Tuner"]
