import os
import pathlib

import cv2
import pytest

from seqface_jax import demo, samples
from seqface_jax.errors import UserError
from seqface_jax.reconstruct import Reconstructor, Rejection
from seqface_jax.reconstruction.continued_state import STRONG, ContinuedState


@pytest.fixture(scope='module')
def seen(packaged):
    """Four Observations of each of two made-up people."""
    people = {}
    for name in ('made_up_ict', 'made_up_makehuman'):
        folder = pathlib.Path(samples.FOLDER) / name
        photos = [cv2.imread(str(path)) for path in sorted(folder.glob('*.jpg'))]
        people[name] = [
            packaged.examine(packaged.initial_state(), cv2.cvtColor(photo, cv2.COLOR_BGR2RGB))
            for photo in photos
        ]
    return people


def _state_of(reconstructor, observations):
    state = reconstructor.initial_state()
    for observation in observations:
        state = reconstructor.added(state, observation)
    return state


def _continued(reconstructor, before, observations):
    continued = ContinuedState(reconstructor, before)
    for observation in observations:
        continued.add(observation)
    return continued


def test_photos_of_another_person_are_told_and_the_state_is_kept(packaged, seen, tmp_path):
    ict, makehuman = seen['made_up_ict'], seen['made_up_makehuman']
    before = _state_of(packaged, ict)
    continued = _continued(packaged, before, makehuman)
    assert continued.log_odds < -STRONG
    for name in ('state.npz', 'state_2.npz'):  # The second does not take the first one's place.
        (line,) = continued.keep(str(tmp_path))
        path = str(tmp_path / 'previous' / name)
        assert 'another person' in line and path in line
        assert packaged.load_state(path).num_frames == 4


def test_a_file_where_the_state_would_be_kept_is_told_in_a_sentence(packaged, seen, tmp_path):
    before = _state_of(packaged, seen['made_up_ict'])
    (tmp_path / 'previous').write_text('a file')
    with pytest.raises(UserError, match=r'cannot write to .*previous'):
        _continued(packaged, before, seen['made_up_makehuman']).keep(str(tmp_path))


def test_photos_of_the_same_person_go_on_in_silence(packaged, seen, tmp_path):
    for photos in seen.values():
        continued = _continued(packaged, _state_of(packaged, photos[:2]), photos[2:])
        assert continued.log_odds > -STRONG
        assert continued.keep(str(tmp_path)) == []
    assert not os.listdir(tmp_path)


def test_nothing_is_compared_where_there_is_no_state_or_no_photo_or_no_way_to(packaged, seen):
    photos = seen['made_up_ict']
    empty = packaged.initial_state()
    assert _continued(packaged, empty, photos).log_odds == 0
    assert _continued(packaged, _state_of(packaged, photos), []).log_odds == 0

    class Other:
        def initial_state(self):
            return empty

    assert _continued(Other(), _state_of(packaged, photos), photos).log_odds == 0


def test_one_photo_is_not_compared_with_one_which_doubts_too_many(packaged, seen):
    ict, makehuman = seen['made_up_ict'], seen['made_up_makehuman']
    before = _state_of(packaged, ict[:1])
    new = _state_of(packaged, makehuman[:1])
    assert packaged.log_odds_of_one_person(before, new) != 0
    assert _continued(packaged, before, makehuman[:1]).log_odds == 0
    assert _continued(packaged, before, makehuman[:2]).log_odds != 0


def test_a_photo_that_cannot_be_used_is_not_added(packaged, seen):
    refused = seen['made_up_ict'][0]._replace(rejection=Rejection.BLURRED)
    with pytest.raises(UserError, match='cannot be added'):
        packaged.added(packaged.initial_state(), refused)


def test_a_run_that_goes_on_with_another_person_says_so_and_loses_nothing(
    packaged, seen, tmp_path, monkeypatch
):
    monkeypatch.setattr(Reconstructor, 'restore', lambda *args, **options: packaged)
    path = str(tmp_path / 'state.npz')
    packaged.save_state(path, _state_of(packaged, seen['made_up_ict']))
    options = {'state_path': path, 'texture': False}
    folder = pathlib.Path(samples.FOLDER)
    lines = demo.run(None, str(folder / 'made_up_makehuman'), str(tmp_path), **options)
    assert lines[0].startswith('warning: the new photos seem to show another person')
    assert packaged.load_state(path).num_frames == 8
    assert packaged.load_state(tmp_path / 'previous' / 'state.npz').num_frames == 4
    assert 'of another person than the state' in (tmp_path / 'face.html').read_text()
