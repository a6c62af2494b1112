"""The figures as a metric of the evaluate library: `evaluate.load("src/cnn_rnn/metrics/evaluate_metric.py")`."""

from typing import Any

import datasets
import evaluate

from cnn_rnn.metrics.multi_label import MultiLabelMetrics  # absolute: evaluate loads this file by itself

METRIC_DESCRIPTION = """\
Multi-label figures: mAP, class and overall precision, recall and F1 by predicted path, by threshold and by top-k,
rankings and calibration. The same for any order of the rows; classes without positives are left out and named.
"""

INPUTS = """\
Args:
    predictions: label scores, (N, C).
    references: 1 present, 0 absent, a negative value leaves the entry out, (N, C).
    paths: the predicted sets as 0 or 1, (N, C), in `compute` only.
    labels, top_k, thresholds and the other settings: as `MultiLabelMetrics` takes them.
Returns:
    the dict of `MultiLabelMetrics.compute()`.
"""

CITATION = """\
@inproceedings{wang2016cnnrnn,
  title={{CNN-RNN}: A Unified Framework for Multi-label Image Classification},
  author={Wang, Jiang and Yang, Yi and Mao, Junhua and Huang, Zhiheng and Huang, Chang and Xu, Wei},
  booktitle={CVPR}, year={2016}
}
"""


class MultiLabelMetric(evaluate.Metric):
    """An `evaluate` face for `MultiLabelMetrics`."""

    def _info(self) -> evaluate.MetricInfo:
        """What the metric says of itself and expects, as evaluate asks for it."""
        return evaluate.MetricInfo(
            description=METRIC_DESCRIPTION,
            inputs_description=INPUTS,
            citation=CITATION,
            features=datasets.Features(
                {
                    "predictions": datasets.List(datasets.Value("float64")),
                    "references": datasets.List(datasets.Value("float64")),
                }
            ),
        )

    def _compute(self, *, predictions: Any, references: Any, paths: Any = None, **settings: Any) -> dict[str, Any]:
        """The figures of all rows added so far."""
        metrics = MultiLabelMetrics(**settings)
        metrics.update(predictions, references, paths=paths)
        return metrics.compute()
