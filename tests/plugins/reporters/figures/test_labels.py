"""Words placed beside points."""

import numpy as np

from sdelens_plugins.reporters.figures.labels import overlap, place_labels


def test_words_overlap_less_than_where_they_would_stand():
    random = np.random.default_rng(0)
    points = random.uniform(0, 200, (40, 2))
    sizes = [(25.0, 8.0)] * 40
    half = np.array([12.5, 4.0])
    naive = np.concatenate([points - half, points + half], axis=1)

    def covered(boxes):
        return overlap(boxes, boxes).sum() - np.trace(overlap(boxes, boxes))

    boxes = place_labels(points, sizes)
    assert covered(boxes) < 0.1 * covered(naive)
    assert np.abs((boxes[:, :2] + boxes[:, 2:]) / 2 - points).max() < 60


def test_a_single_word_stands_next_to_its_point():
    (box,) = place_labels(np.array([[10.0, 10.0]]), [(20.0, 8.0)])
    assert overlap(box[None], np.array([[9.0, 9.0, 11.0, 11.0]])).sum() == 0
