"""The public names of the package, for type checkers and for lazy_loader, which imports each when it is used."""

from .evaluator import EvaluationResult as EvaluationResult
from .evaluator import evaluate as evaluate
from .metrics import bootstrap_interval as bootstrap_interval
from .metrics import evaluation_metrics as evaluation_metrics
from .metrics import headline_ks as headline_ks
from .metrics import majority_at_n as majority_at_n
from .metrics import mean_at_k as mean_at_k
from .metrics import metric_intervals as metric_intervals
from .metrics import paired_changes as paired_changes
from .metrics import pass_at_k as pass_at_k
from .metrics import pass_curve as pass_curve
from .sampler import SampledCompletion as SampledCompletion
from .transformers_sampler import sample_completions as sample_completions
