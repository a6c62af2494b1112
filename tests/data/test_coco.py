"""The COCO loader: sparse ids become classes in order, no image is lost, a contradiction is named."""

import json
import logging
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cnn_rnn.data import label_counts, label_names, load_coco

CATEGORIES = [{"id": 90, "name": "toothbrush"}, {"id": 1, "name": "person"}, {"id": 18, "name": "dog"}]


def document() -> dict[str, Any]:
    """Four images: two labels, a crowd beside a repeated label, a crowd alone, nothing."""
    places = [(9, 18, 0), (9, 90, 0), (4, 1, 0), (4, 1, 0), (4, 1, 1), (7, 18, 1)]
    return {
        "info": {},
        "images": [{"id": i, "file_name": f"{i:012d}.jpg", "width": 4} for i in (9, 4, 2, 7)],
        "annotations": [
            {"id": n, "image_id": image, "category_id": category, "iscrowd": crowd, "segmentation": [[1.5, 2, 3]]}
            for n, (image, category, crowd) in enumerate(places)
        ],
        "categories": list(CATEGORIES),
    }


def write_coco(root: Path, content: dict[str, Any], split: str = "val", images: str = "") -> Path:
    path = root / "annotations" / f"instances_{split}2017.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    folder = root / images / f"{split}2017"
    folder.mkdir(parents=True, exist_ok=True)
    for image in content["images"]:
        Image.new("RGB", (4, 4)).save(folder / Path(image["file_name"]).name)
    return path


@pytest.mark.parametrize("images", ["", "images"])
def test_sparse_ids_become_classes_and_every_image_stays(
    tmp_path: Path, images: str, caplog: pytest.LogCaptureFixture
) -> None:
    write_coco(tmp_path, document(), images=images)
    with caplog.at_level(logging.INFO):
        data = load_coco(tmp_path, 2017)
    assert list(data) == ["val"]
    rows = data["val"]
    assert label_names(rows) == ["person", "dog", "toothbrush"]
    assert rows["image_id"][:] == ["9", "4", "2", "7"]
    assert rows["labels"][:] == [[1, 2], [0], [], [1]]
    assert rows[3]["image"].size == (4, 4)
    assert "4 images, 1 of them without annotation; 1 labels rest on crowd annotations alone" in caplog.text


def test_missing_images_are_an_error_unless_labels_suffice(tmp_path: Path) -> None:
    write_coco(tmp_path, document())
    (tmp_path / "val2017" / "000000000004.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of 4 images are missing .*000000000004\.jpg"):
        load_coco(tmp_path, 2017)
    assert load_coco(tmp_path, "2017", require_images=False, split="val")[1]["image"] is None


def broken(key: str, change: Any) -> dict[str, Any]:
    content = document()
    content[key].append(change)
    return content


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (broken("annotations", {"image_id": 5, "category_id": 1}), r"annotations\[6\] has image_id 5"),
        (broken("annotations", {"image_id": 4, "category_id": 12}), r"annotations\[6\] has category_id 12"),
        (broken("annotations", {"image_id": 4}), r"missing required field `category_id` - at `\$\.annotations\[6\]`"),
        (
            broken("annotations", {"image_id": "4", "category_id": 1}),
            r"Expected `int`, got `str` - at `\$\.annotations",
        ),
        (broken("images", {"id": 9, "file_name": "x.jpg"}), "images: id 9 occurs more than once"),
        (broken("images", {"id": 5, "file_name": "000000000009.jpg"}), "images: file_name 000000000009.jpg occurs"),
        (broken("images", {"id": 5, "file_name": "../val2017/000000000009.jpg"}), "leaves the image folder"),
        (broken("images", {"id": 5, "file_name": "/000000000009.jpg"}), "leaves the image folder"),
        (broken("categories", {"id": 18, "name": "cat"}), "categories: id 18 occurs more than once"),
        (broken("categories", {"id": 3, "name": "dog"}), "categories: name dog occurs more than once"),
        (document() | {"images": []}, "annotations name what 'images' does not list"),
    ],
)
def test_a_contradiction_is_named_with_file_and_key(tmp_path: Path, content: dict[str, Any], told: str) -> None:
    write_coco(tmp_path, content)
    with pytest.raises(ValueError, match=told) as error:
        load_coco(tmp_path, 2017)
    assert "instances_val2017.json" in str(error.value)


@pytest.mark.parametrize("length", [0, 200])
def test_a_file_that_is_cut_off_is_named(tmp_path: Path, length: int) -> None:
    path = write_coco(tmp_path, document())
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ValueError, match=r"instances_val2017\.json is (not COCO's instances format, whole: |empty)"):
        load_coco(tmp_path, 2017)


def test_splits_with_other_categories_are_refused(tmp_path: Path) -> None:
    write_coco(tmp_path, document())
    write_coco(tmp_path, document() | {"annotations": [], "categories": CATEGORIES[:2]}, "train")
    with pytest.raises(ValueError, match="categories of train and val differ"):
        load_coco(tmp_path, 2017)


def test_unknown_years_splits_and_roots_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="2015"):
        load_coco(tmp_path, 2015)
    with pytest.raises(FileNotFoundError, match="annotations"):
        load_coco(tmp_path, 2014)
    write_coco(tmp_path, document())
    with pytest.raises(ValueError, match="no split 'test'; it has val"):
        load_coco(tmp_path, 2017, split="test")


def test_the_real_subset_equals_a_count_made_straight_from_the_json(real_data: Path) -> None:
    data = load_coco(real_data / "coco", 2017)
    assert {name: len(rows) for name, rows in data.items()} == {"train": 192, "val": 162}
    for split, rows in data.items():
        content = json.loads((real_data / "coco" / "annotations" / f"instances_{split}2017.json").read_text())
        images_of = defaultdict(set)
        for annotation in content["annotations"]:
            images_of[annotation["category_id"]].add(annotation["image_id"])
        by_id = sorted(content["categories"], key=lambda category: category["id"])
        assert label_names(rows) == [category["name"] for category in by_id]
        assert label_counts(rows).tolist() == [len(images_of[category["id"]]) for category in by_id]
