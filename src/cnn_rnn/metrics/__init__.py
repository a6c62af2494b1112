"""From label scores to the paper's tables."""

from cnn_rnn.metrics.average_precision import average_precision
from cnn_rnn.metrics.multi_label import MultiLabelMetrics

__all__ = ["MultiLabelMetrics", "average_precision"]
