"""From label scores to the paper's tables."""

from .average_precision import average_precision
from .multi_label import MultiLabelMetrics

__all__ = ["MultiLabelMetrics", "average_precision"]
