"""The benchmarks' rules as data: which split, which k, which average precision, and what others reported."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cnn_rnn.nearest_names import did_you_mean

from .average_precision import Method


@dataclass(frozen=True)
class Column:
    """One column of a table: its heading, and where the figure lies in the computed dict."""

    heading: str
    key: tuple[str, ...]
    percent: bool = True  # a fraction, shown times 100 with one decimal; else a count, or a mean of counts

    def value(self, figures: Mapping[str, Any]) -> float | None:
        """The figure, None where it is not defined."""
        found: Any = figures
        for part in self.key:
            found = None if found is None else found.get(part)
        return None if found is None else float(found)


@dataclass(frozen=True)
class Reported:
    """A row that others published: figures by the heading of their column, fractions or counts.

    `unverified` names the headings whose figures were not checked against the publication; none of the figures is
    exact enough to test against.
    """

    method: str
    figures: dict[str, float]
    unverified: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Protocol:
    """How a benchmark is run and printed.

    Attributes:
        name: What the command line calls it.
        data: The data set, and its training and test parts with the official numbers of images.
        test_images: The official size of the test part, None where publications differ.
        top_k: Labels that the `top_k` figures predict for each image.
        average_precision_method: As :func:`average_precision` takes it.
        map_k: The depth of the image-wise MAP@k.
        columns: What the table prints.
        reported: What others published.
        notes: What a reader must know to compare.
    """

    name: str
    data: str
    test_images: int | None
    top_k: int
    columns: tuple[Column, ...]
    average_precision_method: Method = "area"
    map_k: int = 10
    reported: tuple[Reported, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def settings(self) -> dict[str, Any]:
        """What the protocol fixes of the settings of :class:`MultiLabelMetrics`."""
        return {
            "top_k": self.top_k,
            "map_k": self.map_k,
            "average_precision_method": self.average_precision_method,
        }


SET_HEADINGS = {"C-P": "CP", "C-R": "CR", "C-F1": "CF1", "O-P": "OP", "O-R": "OR", "O-F1": "OF1"}


def set_columns(block: str) -> tuple[Column, ...]:
    """The six columns of a predicted set: by `path`, `threshold` or `top_k`."""
    return tuple(Column(heading, (block, key)) for heading, key in SET_HEADINGS.items())


MEAN_AVERAGE_PRECISION = Column("mAP", ("mAP",))
MAP_AT_K = Column("MAP@10", ("ranking", "MAP_at_k"))
TOP_K_COLUMNS = (*set_columns("top_k"), MAP_AT_K, MEAN_AVERAGE_PRECISION)
CLASS_F1_NOTE = "C-F1 is the harmonic mean of mean C-P and mean C-R, as in the paper's line of work."
MAP_NOTE = "MAP@10 divides each image's sum by min(10, its labels); the publications do not state their divisor."
SPLITS_NOTE = "Splits differ between publications: photos vanished, unlabelled ones were dropped or kept."


def _paper(*figures: float) -> Reported:
    """The paper's own row: figures of the set of the best k labels, and MAP@10; the F1s alone were checked."""
    headings = (*SET_HEADINGS, MAP_AT_K.heading)
    unverified = frozenset({"C-P", "C-R", "O-P", "O-R"})
    return Reported("CNN-RNN (Wang et al. 2016)", dict(zip(headings, figures, strict=True)), unverified)


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            name="voc2007",
            data="PASCAL VOC 2007, trained on trainval (5,011 images), tested on test (4,952 images), 20 classes",
            test_images=4952,
            top_k=3,
            average_precision_method="11point",
            columns=(Column("mAP (11-point)", ("mAP",)),),
            reported=(Reported("CNN-RNN (Wang et al. 2016)", {"mAP (11-point)": 0.840}),),
            notes=(
                "VOC 2007's own AP is the 11-point one; publications do not always say which they print.",
                "An image whose only objects of a class are difficult is left out of that class.",
            ),
        ),
        Protocol(
            name="coco2014",
            data="MS-COCO 2014, trained on train (82,783 images), tested on val (40,504 images), 80 classes",
            test_images=40504,
            top_k=3,
            columns=TOP_K_COLUMNS,
            reported=(_paper(0.660, 0.556, 0.604, 0.692, 0.664, 0.678, 0.612),),
            notes=(CLASS_F1_NOTE, MAP_NOTE, "Images without any annotation belong to val and are counted."),
        ),
        Protocol(
            name="nus-wide-81",
            data="NUS-WIDE, 81 concepts, 150,000 training and 59,347 test images as reported (unverified)",
            test_images=None,
            top_k=3,
            columns=TOP_K_COLUMNS,
            reported=(
                _paper(0.405, 0.304, 0.347, 0.499, 0.617, 0.552, 0.561),
                Reported("CNN-RNN as later papers re-evaluate it", {"mAP": 0.283}),
            ),
            notes=(CLASS_F1_NOTE, MAP_NOTE, SPLITS_NOTE),
        ),
        Protocol(
            name="nus-wide-1000",
            data="NUS-WIDE, 1,000 tags, the images of the 81-concept split",
            test_images=None,
            top_k=10,
            columns=TOP_K_COLUMNS,
            notes=(
                CLASS_F1_NOTE,
                MAP_NOTE,
                "Top 10 is from memory and unverified; no published figure is known here.",
                SPLITS_NOTE,
            ),
        ),
        Protocol(
            name="corel5k",
            data="Corel5k, 4,500 training and 499 test images, means over the words of the test part",
            test_images=499,
            top_k=5,
            columns=(
                *set_columns("top_k"),
                Column("N+", ("top_k", "N_plus"), percent=False),
                MEAN_AVERAGE_PRECISION,
            ),
            reported=(
                Reported(
                    "RIA, rare first (Jin and Nakayama 2016)",
                    {"C-P": 0.32, "C-R": 0.35, "C-F1": 0.33, "N+": 139},
                    unverified=frozenset({"C-P", "C-R", "C-F1", "N+"}),
                ),
            ),
            notes=(CLASS_F1_NOTE, "N+ is the number of words recalled at least once."),
        ),
    )
}


def get_protocol(name: str) -> Protocol:
    """The protocol of that name.

    Raises:
        ValueError: there is none; the message names the nearest.
    """
    if name not in PROTOCOLS:
        meant = did_you_mean(name, PROTOCOLS, shown=repr)
        hint = f"; {meant}" if meant else ""
        raise ValueError(f"protocol {name!r} is unknown: expected one of {', '.join(PROTOCOLS)}{hint}")
    return PROTOCOLS[name]
