"""What is counted is told as Prometheus reads it."""

import re

from cnn_rnn.serving.counts import Counts

LINE = re.compile(r'(# (HELP|TYPE) cnn_rnn_\w+ .+|cnn_rnn_\w+(\{\w+="[^"\n]*"(,\w+="[^"\n]*")*\})? [0-9.e+-]+)')


def test_the_text_says_what_happened_in_the_order_that_its_format_asks_for() -> None:
    counts = Counts()
    for seconds in (0.03, 0.3, 7.0, 100.0):
        counts.answered("/predict", 200, seconds)
    counts.answered("/predict", 422, 0.01)
    counts.answered("other", 404, 0.01)
    for photos in (1, 3, 16):
        counts.seen(photos)
    counts.replace()
    text = counts.text(waiting=5)
    lines = text.splitlines()
    assert text.endswith("\n")
    assert [line for line in lines if not LINE.fullmatch(line)] == []
    samples = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert samples['cnn_rnn_requests_total{path="/predict",status="200"}'] == "4"
    assert samples['cnn_rnn_requests_total{path="other",status="404"}'] == "1"
    assert samples['cnn_rnn_request_seconds_bucket{le="0.5"}'] == "2"
    assert samples['cnn_rnn_request_seconds_bucket{le="+Inf"}'] == samples["cnn_rnn_request_seconds_count"] == "4"
    assert float(samples["cnn_rnn_request_seconds_sum"]) == 107.33
    assert [samples[f'cnn_rnn_batch_photos_bucket{{le="{most}"}}'] for most in (1, 2, 4, 16)] == ["1", "1", "2", "3"]
    assert (samples["cnn_rnn_waiting"], samples["cnn_rnn_decoders_replaced_total"]) == ("5", "1")
    named = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(named) == len(set(named))
    for name in named:  # all of one name stand together, after what it is
        places = [place for place, line in enumerate(lines) if line.split()[-1] and name in line]
        assert places == list(range(places[0], places[0] + len(places)))
