"""Where the benchmarks' official archives lie, how large they are, and what their checksums are.

Sources of the checksums: VOC as torchvision publishes them, COCO as TensorFlow Datasets does. NUS-WIDE publishes none,
and gives its photos only on request: its labels and lists are what can be downloaded.
"""

from dataclasses import dataclass
from urllib.parse import urlsplit

_VOC = "https://thor.robots.ox.ac.uk/pascal/VOC"
_COCO = "http://images.cocodataset.org"
_NUS_WIDE = "https://lms.comp.nus.edu.sg/wp-content/uploads/2019/research/nuswide"


@dataclass(frozen=True)
class Archive:
    """One file to download.

    Attributes:
        url: Where it lies.
        size: Its length in bytes, where known.
        md5: Its MD5 sum, where published.
        sha256: Its SHA-256 sum, where published.
        into: The folder that its content belongs into, where the archive does not bring it along.
    """

    url: str
    size: int | None = None
    md5: str | None = None
    sha256: str | None = None
    into: str | None = None

    @property
    def name(self) -> str:
        """The file's name."""
        return urlsplit(self.url).path.rpartition("/")[2]


_NUS_WIDE_LABELS = (
    Archive(f"{_NUS_WIDE}/ImageList.zip", into="ImageList"),
    Archive(f"{_NUS_WIDE}/Groundtruth.zip", into="Groundtruth"),
    Archive(f"{_NUS_WIDE}/ConceptsList.zip", into="ConceptsList"),
)

ARCHIVES: dict[str, tuple[Archive, ...]] = {
    "voc2007": (
        Archive(f"{_VOC}/voc2007/VOCtrainval_06-Nov-2007.tar", 460_032_000, md5="c52e279531787c972589f7e41ab4ae64"),
        Archive(f"{_VOC}/voc2007/VOCtest_06-Nov-2007.tar", 451_020_800, md5="b6e924de25625d8de591ea690078ad9f"),
    ),
    "voc2012": (
        Archive(f"{_VOC}/voc2012/VOCtrainval_11-May-2012.tar", 1_999_639_040, md5="6cd6e144f989b92b3379bac3b3de84fd"),
    ),
    "coco2014": (
        Archive(
            f"{_COCO}/annotations/annotations_trainval2014.zip",
            252_872_794,
            sha256="031296bbc80c45a1d1f76bf9a90ead27e94e99ec629208449507a4917a3bf009",
        ),
        Archive(
            f"{_COCO}/zips/train2014.zip",
            13_510_573_713,
            sha256="ede4087e640bddba550e090eae701092534b554b42b05ac33f0300b984b31775",
        ),
        Archive(
            f"{_COCO}/zips/val2014.zip",
            6_645_013_297,
            sha256="fe9be816052049c34717e077d9e34aa60814a55679f804cd043e3cbee3b9fde0",
        ),
    ),
    "coco2017": (
        Archive(
            f"{_COCO}/annotations/annotations_trainval2017.zip",
            252_907_541,
            sha256="113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
        ),
        Archive(
            f"{_COCO}/zips/train2017.zip",
            19_336_861_798,
            sha256="69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929",
        ),
        Archive(
            f"{_COCO}/zips/val2017.zip",
            815_585_330,
            sha256="4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05",
        ),
    ),
    "nus-wide-81": _NUS_WIDE_LABELS,
    "nus-wide-1000": (*_NUS_WIDE_LABELS, Archive(f"{_NUS_WIDE}/NUS_WID_Tags.zip", into="NUS_WID_Tags")),
}
