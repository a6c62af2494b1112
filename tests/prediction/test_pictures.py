"""The page of images, labels and paths."""

from PIL import Image

from cnn_rnn.prediction.pictures import EXTRA, FOUND, LINE, MISSED, PLAIN, TILE, WALKED, Caption, draw_page


def test_a_caption_tells_found_extra_and_missed_labels_apart() -> None:
    caption = Caption([("boat", 0.9), ("cat", 0.2)], truth=["boat", "sail"])
    assert caption.lines() == [("boat  0.90", FOUND), ("cat  0.20", EXTRA), ("missed: sail", MISSED)]
    assert Caption([("boat", 0.9)]).lines() == [("boat  0.90", PLAIN)]
    assert Caption([]).lines() == [("(no label)", PLAIN)]


def test_the_path_stands_below_the_labels_which_it_may_not_share() -> None:
    caption = Caption([("boat", 0.9)], [("boat", 0.95), ("cat", 0.4)], truth=["sail"])
    steps = [("path 1. boat  0.95", WALKED), ("path 2. cat  0.40", WALKED)]
    assert caption.lines() == [("boat  0.90", EXTRA), ("missed: sail", MISSED), *steps]
    assert Caption([], [("cat", 0.4)]).lines() == [("(no label)", PLAIN), ("path 1. cat  0.40", WALKED)]


def test_every_image_is_on_the_page_whatever_its_shape_and_mode() -> None:
    sizes = [(300, 20), (20, 300), (7, 7), (64, 64)]
    images = [Image.new("L", size, 77) for size in sizes]
    page = draw_page(images, [Caption([("boat", 1.0)])] * 4, columns=2)
    assert page.size == (2 * TILE, 2 * (TILE + LINE + 8))
    for index in range(4):
        centre = (index % 2 * TILE + TILE // 2, index // 2 * (TILE + LINE + 8) + TILE // 2)
        assert page.getpixel(centre) == (77, 77, 77)
