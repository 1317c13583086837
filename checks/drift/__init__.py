"""Is the traffic still like what the model learned from?

The tests are ours, since Evidently's own take the reference for exact and alarm on two equal
samples; Evidently draws the page.
"""

from checks.drift.judgement import check_drift
from checks.drift.page import drift_pages

__all__ = ["check_drift", "drift_pages"]
