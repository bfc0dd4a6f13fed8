import numpy as np
import pytest

from data_prep.package_files import mean_looks
from seqface_jax import checkpoints
from seqface_jax.photos.turned_crops import Crop
from seqface_jax.reconstruction import flagship, people_assignment
from seqface_jax.reconstruction.people_assignment import Looks

_RNG = np.random.default_rng(0)
_POINTS = _RNG.normal(0, 40, (200, 3))


def _crop(x, side=100.0):
    return Crop(np.array([x, 100.0]), side)


def _places(old, new):
    """Returns the evidence by place [F, K] of people at x = old and faces at x = new."""
    return np.array(
        [[people_assignment.place_evidence(_crop(x), _crop(before)) for before in old] for x in new]
    )


def test_faces_are_assigned_jointly_no_two_to_one_person():
    # Both are most like person 0; the sum is largest if the first is person 1.
    decisions = people_assignment.assign([[3.0, 2.5], [6.0, -6.0]])
    assert [decision.person for decision in decisions] == [1, 0]


def test_before_the_first_photo_everybody_is_new_and_has_a_number_of_their_own():
    decisions = people_assignment.assign(np.zeros((2, 0)))
    assert sorted(decision.person for decision in decisions) == [0, 1]
    assert all(decision.is_sure and decision.rival is None for decision in decisions)


def test_a_face_unlike_everybody_is_new():
    known, new = people_assignment.assign([[5.0], [-5.0]])
    assert (known.person, new.person >= 1) == (0, True)
    assert known.is_sure and new.is_sure


def test_a_face_that_may_be_of_two_people_is_unsure_and_names_the_rival():
    (decision,) = people_assignment.assign([[3.0, 2.5]])
    assert decision.person == 0 and decision.rival == 1 and not decision.is_sure
    assert decision.margin == pytest.approx(0.5)


def test_in_a_video_who_stays_in_place_is_told_although_the_faces_hardly_differ():
    faces = [[2.0, 1.8], [1.8, 2.0]]
    places = _places((100, 400), (102, 399))
    stay = people_assignment.assign(faces, places)
    assert [decision.person for decision in stay] == [0, 1]
    assert all(decision.is_sure for decision in stay)
    assert not any(decision.is_sure for decision in people_assignment.assign(faces))


def test_two_who_change_places_between_frames_are_told_by_their_faces_where_these_differ():
    faces = [[-5.0, 5.0], [5.0, -5.0]]  # The left face is person 1's, the right one person 0's.
    decisions = people_assignment.assign(faces, _places((100, 400), (100, 400)))
    assert [decision.person for decision in decisions] == [1, 0]
    assert all(decision.is_sure for decision in decisions)


@pytest.mark.parametrize('strength', [0.2, 0.8, 1.4])
def test_two_who_change_places_and_look_alike_are_credited_to_nobody(strength):
    faces = [[1.0 - strength, 1.0 + strength], [1.0 + strength, 1.0 - strength]]
    decisions = people_assignment.assign(faces, _places((100, 400), (100, 400)))
    assert not any(decision.is_sure for decision in decisions)
    assert [decision.rival for decision in decisions] != [None, None]


def test_a_move_costs_more_the_farther_it_is_up_to_a_cut():
    costs = [people_assignment.place_evidence(_crop(x), _crop(100)) for x in (100, 110, 120, 900)]
    assert costs[0] == 0 and costs[0] > costs[1] > costs[2] > costs[3] == -3.0
    assert costs[3] < people_assignment.place_evidence(_crop(100), None) < 0


def test_light_that_varies_smoothly_over_the_face_changes_no_looks():
    colors = _RNG.normal(4, 0.3, (200, 3))
    x, y, _ = (_POINTS / 40).T
    lit = colors + (0.5 + 0.3 * x - 0.2 * y + 0.1 * x * y)[:, None] * [1.0, 0.9, 0.8]
    one, other = (
        people_assignment.without_light(values, np.ones(200), _POINTS) for values in (colors, lit)
    )
    np.testing.assert_allclose(one, other, atol=1e-9)


def test_looks_are_compared_where_both_are_seen():
    colors, noise = _RNG.normal(size=(2, 200, 3))
    hidden = np.where(np.arange(200)[:, None] < 100, colors, noise)
    half = (np.arange(200) < 100).astype(float)
    whole = Looks(colors, np.ones(200))
    assert people_assignment.likeness(whole, Looks(hidden, half)) == pytest.approx(1)
    assert people_assignment.likeness(whole, Looks(hidden, np.ones(200))) < 0.8
    assert people_assignment.likeness(whole, Looks(colors, 0 * half)) == 0


def test_the_mean_of_looks_weighs_each_point_by_how_well_it_was_seen():
    first = Looks(np.zeros((2, 3)), np.array([1.0, 1.0]))
    second = Looks(np.full((2, 3), 4.0), np.array([1.0, 0.0]))
    mean = people_assignment.joined(people_assignment.joined(None, first), second)
    np.testing.assert_allclose(mean.colors[:, 0], [2.0, 0.0])
    np.testing.assert_allclose(mean.weights, [2.0, 1.0])


def test_colours_are_read_where_the_points_are():
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:, 32:] = (200, 100, 50)
    colors = people_assignment.colors_at(picture, [[10.5, 30.5], [50.5, 30.5]])
    np.testing.assert_allclose(np.exp(colors) - 8, [[0, 0, 0], [200, 100, 50]], atol=1e-9)


def test_what_all_faces_share_is_told_where_points_are_known():
    colors = _RNG.normal(0, 0.4, (200, 3))
    image = np.zeros((40, 200, 3), np.uint8)
    image[:] = np.rint(np.exp(4 + colors) - 8)[None]
    image = np.repeat(image, 5, 0)[:200]
    places = np.stack([np.arange(200) + 0.5, np.full(200, 100.5)], 1)
    seen = np.ones((2, 200), bool)
    mean = mean_looks.mean_of(np.stack([image, image]), np.stack([places, places]), seen, _POINTS)
    once = people_assignment.colors_at(image, places)
    expected = people_assignment.without_light(once, np.ones(200), _POINTS)
    np.testing.assert_allclose(mean, expected, atol=1e-9)
    assert np.abs(mean).max() > 0.05


def test_the_packaged_mean_has_a_colour_at_each_of_the_networks_points():
    geometry = flagship.read_geometry(flagship.geometry_path(checkpoints.pretrained()))
    shared = people_assignment.mean_looks()
    assert shared.shape == np.asarray(geometry.points.mean).shape
    np.testing.assert_allclose(np.average(shared), 0, atol=0.1)
