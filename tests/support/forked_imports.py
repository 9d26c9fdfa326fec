"""What every run imports, for the server that forks them."""

import litevl.evaluation.report
import litevl.tasks
import litevl.training  # noqa: F401
