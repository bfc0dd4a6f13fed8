import csv
import dataclasses
import os
import signal
import subprocess
import sys
import threading
import urllib.request

import cv2
import numpy as np
import pytest
import trimesh

from seqface_jax import demo
from seqface_jax.errors import UserError
from seqface_jax.geometry import alignment
from seqface_jax.photos import pose_fitting, video
from seqface_jax.reconstruct import Face, Reconstructor
from seqface_jax.reconstruction import contact_sheet, demo_record, person_stream
from tests.helpers import forked_commands, small_run
from tests.helpers.small_raw_tree import draw_face

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def _draw(shift=0):
    return draw_face(200, 160, (80 + shift, 100), 45)


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
    return small_run.write(tmp_path_factory.mktemp('runs') / 'small')


@pytest.fixture(scope='module')
def reconstructor(small_reconstructor):
    return small_reconstructor


@pytest.fixture
def restored(monkeypatch, reconstructor):
    """Makes every run that is restored the same compiled one."""
    monkeypatch.setattr(Reconstructor, 'restore', lambda *args, **options: reconstructor)


@pytest.fixture
def photos(tmp_path):
    """Returns a folder of two photos of a face, one of nothing, one blurred and one damaged."""
    folder = tmp_path / 'photos'
    folder.mkdir()
    for name in ('1.jpg', '2.png'):
        cv2.imwrite(str(folder / name), _draw()[..., ::-1])
    cv2.imwrite(str(folder / '0.jpg'), np.full((200, 200, 3), 90, np.uint8))
    (folder / '3.jpg').write_bytes(b'not a picture')
    cv2.imwrite(str(folder / '4.png'), cv2.GaussianBlur(_draw(), (0, 0), 5)[..., ::-1])
    (folder / 'notes.txt').write_text('not a photo')
    return str(folder)


@pytest.fixture
def film(tmp_path):
    """Returns a video of nine frames of a face."""
    path = str(tmp_path / 'film.avi')
    writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*'MJPG'), 25, (160, 200))
    for shift in range(9):
        writer.write(np.ascontiguousarray(_draw(shift)[..., ::-1]))
    writer.release()
    return path


def _rows(output):
    with open(os.path.join(output, 'frames.csv'), newline='') as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_the_command_writes_a_face_a_picture_and_what_became_of_each_photo(
    workdir, photos, tmp_path
):
    output = tmp_path / 'new' / 'out'
    command = [sys.executable, 'run_demo.py', f'--workdir={workdir}', f'--input={photos}']
    environment = os.environ | {'XDG_CACHE_HOME': str(tmp_path / 'cache')}
    environment.pop('JAX_COMPILATION_CACHE_DIR', None)
    done = subprocess.run(
        command + [f'--output={output}'],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert 'used 2 of 5 frames; skipped: ' in done.stdout and '1 no face found' in done.stdout
    assert 'left out, as frames.csv says: 1 no photo' in done.stdout
    assert 'compiling the network' in done.stderr and '5/5' in done.stderr
    assert os.path.isdir(tmp_path / 'cache' / 'seqface_jax')
    assert (output / 'face.ply').read_bytes().startswith(b'ply\nformat binary_little_endian')
    assert cv2.imread(str(output / 'face.png')).std() > 10
    rows = {os.path.basename(row['photo']): row for row in _rows(output)}
    assert {name: row['result'] for name, row in rows.items()} == {
        '0.jpg': 'skipped',
        '1.jpg': 'used',
        '2.png': 'used',
        '3.jpg': 'skipped',
        '4.png': 'skipped',
        'notes.txt': 'skipped',
    }
    assert 'a text file' in rows['notes.txt']['detail']
    assert 'not a readable picture' in rows['3.jpg']['detail']
    assert 'blurred (sharpness 0.' in rows['4.png']['detail']
    assert float(rows['1.jpg']['sharpness']) > float(rows['4.png']['sharpness']) > 0


@pytest.mark.slow
def test_the_command_ends_with_one_sentence_on_bad_input(tmp_path):
    command = ['run_demo.py', f'--input={tmp_path}/none', f'--output={tmp_path}/out']
    done = forked_commands.run(*command)
    assert done.returncode == 1
    assert (
        done.stderr.strip()
        .splitlines()[-1]
        .startswith(f'error: no such file or folder: {tmp_path}/none')
    )
    done = forked_commands.run(*command, '--max_frames=-1')
    assert done.returncode == 1 and 'max_frames=-1' in done.stderr


def test_a_film_gives_a_face_and_the_state_goes_on(restored, reconstructor, film, tmp_path):
    output = str(tmp_path / 'out')
    lines = demo.run(None, film, output, texture=False)
    assert 'used 9 of 9 frames' in lines[0] and 'mm/frame^2' in lines[1]
    rows = _rows(output)
    assert [row['photo'] for row in rows] == list('123456789')
    state = reconstructor.load_state(os.path.join(output, 'state.npz'))
    assert state.num_frames == 9
    again = str(tmp_path / 'again')
    earlier = os.path.join(output, 'state.npz')
    demo.run(None, film, again, state_path=earlier, max_frames=2, texture=False)
    state = reconstructor.load_state(os.path.join(again, 'state.npz'))
    assert state.num_frames == 11 and len(_rows(again)) == 2


def test_jitter_in_the_table_is_that_of_the_faces(restored, film, tmp_path, monkeypatch):
    faces, add = [], demo_record.Record.add

    def keep(record, moment):
        faces.append(moment.face.vertices)
        add(record, moment)

    monkeypatch.setattr(demo_record.Record, 'add', keep)
    demo.run(None, film, str(tmp_path / 'out'), texture=False)
    written = [row['jitter_mm_per_frame2'] for row in _rows(tmp_path / 'out')]
    assert written[:2] == ['', '']
    expected = demo_record.jitter(np.stack(faces))
    np.testing.assert_allclose(np.float64(written[2:]), expected, atol=1e-4)


def test_ctrl_c_ends_the_stream_and_saves_what_there_is(restored, film, tmp_path, monkeypatch):
    opened = video.open_source(film)

    def frames():
        for frame in opened.frames:
            if frame.name == '4':
                os.kill(os.getpid(), signal.SIGINT)
            yield frame

    monkeypatch.setattr(video, 'open_source', lambda source: opened._replace(frames=frames()))
    before = signal.getsignal(signal.SIGINT)
    lines = demo.run(None, film, str(tmp_path / 'out'), texture=False)
    assert lines[0].startswith('stopped') and 'used 4 of 4 frames' in lines[1]
    assert os.path.exists(tmp_path / 'out' / 'face.ply') and len(_rows(tmp_path / 'out')) == 4
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_ctrl_c_leaves_a_whole_table_and_no_drafts(restored, film, tmp_path, monkeypatch):
    opened = video.open_source(film)

    def frames():
        for frame in opened.frames:
            for _ in range(2 * (frame.name == '4')):
                # To this thread: two that another one takes may come to be one.
                signal.raise_signal(signal.SIGINT)
            yield frame

    monkeypatch.setattr(video, 'open_source', lambda source: opened._replace(frames=frames()))
    # A shell lets what it starts in the background ignore Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            demo.run(None, film, str(tmp_path / 'out'), texture=False)
    finally:
        signal.signal(signal.SIGINT, before)
    names = [row['photo'] for row in _rows(tmp_path / 'out')]
    assert names == ['1', '2', '3'][: len(names)]
    assert [path.name for path in (tmp_path / 'out').iterdir()] == ['frames.csv']


def test_what_goes_wrong_beside_the_main_thread_is_told(restored, film, tmp_path, monkeypatch):
    add = demo_record.Record.add

    def fail(record, moment):
        if moment.frame.name == '5':
            raise UserError('the disk is full')
        add(record, moment)

    monkeypatch.setattr(demo_record.Record, 'add', fail)
    with pytest.raises(UserError, match='the disk is full'):
        demo.run(None, film, str(tmp_path / 'out'), texture=False)
    assert [row['photo'] for row in _rows(tmp_path / 'out')] == ['1', '2', '3', '4']


@pytest.mark.parametrize('score', [1.0, 0.0])
def test_the_face_is_written_in_colour_where_the_head_s_pose_is_found(
    restored, film, tmp_path, monkeypatch, score
):
    _pose_found(monkeypatch, score)
    output = tmp_path / 'out'
    lines = demo.run(None, film, str(output), max_frames=4, animate=True)
    written = {path.name for path in output.iterdir()}
    assert {'face.ply', 'face.obj', 'face.glb', 'face.png', 'face_animated.glb'} <= written
    (mesh,) = trimesh.load_scene(output / 'face.glb', process=False).geometry.values()
    painted = mesh.visual.material.baseColorTexture is not None
    assert painted == ({'face.mtl', 'face_texture.png'} <= written) == (score > 0)
    said = 'the texture is of 4 frames' if painted else 'no texture: the pose of the head fits'
    assert any(line.startswith(said) for line in lines)
    assert all((row['yaw_deg'] == '0.0') == painted for row in _rows(output))
    assert (output / 'face_animated.glb').stat().st_size > 2 * (output / 'face.glb').stat().st_size


def test_the_page_shows_the_face_and_stays_until_ctrl_c(restored, film, tmp_path, capsys):
    output = str(tmp_path / 'out')
    with demo.open_page(output, port=0) as page:
        demo.run(None, film, output, page=page, texture=False)
        number, picture, _, face = page.shown
        assert number == 8 and picture.std() > 10
        with urllib.request.urlopen(page.address, timeout=10) as answer:
            assert answer.status == 200
        timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        demo.keep_page(page)
    said = capsys.readouterr()
    assert f'the face comes at {page.address}' in said.err and not said.out
    written = (tmp_path / 'out' / 'face.ply').read_bytes()
    assert f'element vertex {len(face.vertices)}'.encode() in written


def test_what_is_kept_for_the_picture_does_not_grow(tmp_path, reconstructor):
    frame = video.Frame('0', _draw())
    state = reconstructor.initial_state()
    moment = next(person_stream.stream(reconstructor, [frame], state))
    with demo_record.Record(str(tmp_path)) as record:
        for _ in range(200):
            record.add(moment)
        assert 8 <= len(record._shown) <= 16


def test_a_long_video_keeps_few_keyframes_and_paints_ever_fewer_frames(
    tmp_path, reconstructor, monkeypatch
):
    frame = video.Frame('0', _draw())
    moment = next(person_stream.stream(reconstructor, [frame], reconstructor.initial_state()))
    monkeypatch.setattr(demo_record, 'jitter', lambda faces: [0.0])
    painted = []
    painter = type('Painter', (), {'add': lambda self, *photo: painted.append(1)})
    with demo_record.Record(str(tmp_path), painter=painter(), keep_keyframes=True) as record:
        for _ in range(3000):
            record.add(moment)
    assert len(painted) == pytest.approx(1000 + 1000 / 2 + 1000 / 4, abs=2)
    assert 60 < len(record._keyframes) < 80


def test_the_expressions_move_the_final_face(tmp_path, film, monkeypatch):
    expressive = Reconstructor(*small_run.make(expression_size=2))
    monkeypatch.setattr(Reconstructor, 'restore', lambda *args, **options: expressive)
    kept, save = {}, Face.save

    def keep(face, path, animation=None):
        kept[os.path.basename(path)] = face, animation
        save(face, path, animation)

    monkeypatch.setattr(Face, 'save', keep)
    demo.run(None, film, str(tmp_path), max_frames=3, animate=True, texture=False)
    face, animation = kept['face_expressions.glb']
    assert len(animation.vertices) == len(animation.seconds) == 3
    last = face.frame_vertices
    np.testing.assert_allclose(animation.vertices[-1], last, atol=1e-4)
    assert np.abs(animation.vertices[0] - last).max() > 1e-3
    assert (tmp_path / 'face_expressions.glb').stat().st_size > 0


def test_a_long_video_keeps_few_expressions_evenly(tmp_path, reconstructor):
    face = Face(np.zeros((4, 3), np.float32), None, np.ones(4))
    with demo_record.Record(str(tmp_path), keep_keyframes=True) as record:
        for number in range(200):
            record._num_used += 1
            moved = np.full((4, 3), number, np.float32)
            record._keep_expression(dataclasses.replace(face, frame_vertices=moved))
    kept = [int(moved[0, 0]) for moved in record._expressions]
    assert kept == list(range(0, 200, 8))


def test_photos_without_a_face_are_named_with_the_reason(restored, photos, tmp_path):
    with pytest.raises(UserError, match='no face in any of the 1 frames of .*no face found'):
        demo.run(None, os.path.join(photos, '0.jpg'), str(tmp_path / 'out'))
    assert _rows(tmp_path / 'out')[0]['detail'] == 'no face found'


def test_a_file_before_the_first_photo_does_not_end_the_run(restored, photos, tmp_path):
    with open(os.path.join(photos, '.DS_Store'), 'wb') as file:
        file.write(b'\0\0\0\1Bud1')
    demo.run(None, photos, str(tmp_path / 'out'), texture=False)
    assert [row['result'] for row in _rows(tmp_path / 'out')].count('used') == 2


@pytest.mark.slow
def test_what_photos_do_not_need_is_not_imported():
    code = 'import sys; from seqface_jax import demo; print(*sys.modules)'
    done = subprocess.run(
        [sys.executable, '-c', code], cwd=_ROOT, capture_output=True, text=True, check=True
    )
    assert not {'matplotlib', 'trimesh', 'scipy.optimize', 'viser'} & set(done.stdout.split())


def test_blas_is_told_to_use_one_thread_before_it_is_loaded():
    code = 'import sys, run_demo, seqface_jax.commands.seqface_command; print(*sys.modules)'
    done = subprocess.run(
        [sys.executable, '-c', code], cwd=_ROOT, capture_output=True, text=True, check=True
    )
    assert 'run_demo' in done.stdout.split() and 'numpy' not in done.stdout.split()


def test_an_unknown_choice_is_refused(photos, tmp_path):
    with pytest.raises(UserError, match='there is no .*: choose of'):
        demo.run(None, photos, str(tmp_path / 'out'), 'best')


def test_an_output_that_cannot_be_a_folder_is_refused(restored, photos, tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match='cannot write to .*choose another --output'):
        demo.run(None, photos, str(tmp_path / 'file' / 'out'))


def _pose_found(monkeypatch, score=1.0):
    facing = alignment.RigidTransform(np.eye(3), np.array([0.0, 0.0, -1060.0]))

    def fit(photo, box, *args, **options):
        return pose_fitting.Pose(facing, pose_fitting.assumed_camera(box), score)

    monkeypatch.setattr(pose_fitting, 'fit', fit)


def test_an_output_among_the_photos_gives_the_same_face_each_time(restored, photos, monkeypatch):
    _pose_found(monkeypatch)
    faces = []
    for _ in range(2):
        demo.run(None, photos, photos)
        with open(os.path.join(photos, 'face.ply'), 'rb') as file:
            faces.append(file.read())
    assert faces[0] == faces[1]
    rows = {os.path.basename(row['photo']): row for row in _rows(photos)}
    assert sum(row['result'] == 'used' for row in rows.values()) == 2
    for name in ('face.png', 'face_texture.png', 'face.ply', 'state.npz', 'frames.csv'):
        assert rows[name]['detail'] == 'written by this program, not a photo'


def _earlier_products(output):
    """Writes what an earlier run of another network would have left."""
    (output / 'overlay').mkdir()
    contact_sheet.save_picture(str(output / 'overlay' / '0001_a.jpg'), _draw())
    for name in ('overlay.mp4', 'landmarks.json', 'face.html'):
        (output / name).write_text('of an earlier run')


def test_a_run_that_fails_leaves_no_old_face_beside_its_table(restored, photos, film, tmp_path):
    output = tmp_path / 'out'
    demo.run(None, film, str(output), max_frames=2, texture=False)
    face = (output / 'face.ply').read_bytes()
    _earlier_products(output)
    with pytest.raises(UserError, match='the face of an earlier run is in .*previous now'):
        demo.run(None, os.path.join(photos, '0.jpg'), str(output))
    assert not list(output.glob('face*')) and len(_rows(output)) == 1
    assert (output / 'previous' / 'face.ply').read_bytes() == face
    assert (output / 'previous' / 'overlay' / '0001_a.jpg').exists()
    assert (output / 'previous' / 'overlay.mp4').exists()
    assert not list(output.glob('overlay*/*')) and not list(output.glob('overlay.*'))


def test_a_face_without_texture_leaves_no_old_texture(restored, film, tmp_path, monkeypatch):
    _pose_found(monkeypatch)
    output = tmp_path / 'out'
    demo.run(None, film, str(output), max_frames=2, animate=True)
    assert (output / 'face_texture.png').exists() and (output / 'face_animated.glb').exists()
    _earlier_products(output)
    demo.run(None, film, str(output), max_frames=2, texture=False)
    left = {path.name for path in output.glob('face*')}
    assert left == {'face.ply', 'face.obj', 'face.glb', 'face.png'}
    assert not list(output.glob('overlay*')) and not (output / 'landmarks.json').exists()


def test_without_texture_the_table_still_has_the_poses(restored, film, tmp_path, monkeypatch):
    _pose_found(monkeypatch)
    demo.run(None, film, str(tmp_path / 'out'), max_frames=2, texture=False)
    assert [row['yaw_deg'] for row in _rows(tmp_path / 'out')] == ['0.0', '0.0']


def test_photos_that_cannot_be_read_are_not_called_blurred_or_faceless(restored, tmp_path):
    (tmp_path / 'a.jpg').write_bytes(b'\xff\xd8\xff\xe0 cut')
    with pytest.raises(
        UserError, match='none of the 1 photos of .* can be read: .*cut short'
    ) as told:
        demo.run(None, str(tmp_path / 'a.jpg'), str(tmp_path / 'out'))
    assert 'take sharp' not in str(told.value)


def test_the_place_of_a_face_on_one_photo_says_nothing_of_the_next(
    restored, reconstructor, photos, film, tmp_path, monkeypatch
):
    seen = []
    find = reconstructor.find_face
    monkeypatch.setattr(
        reconstructor,
        'find_face',
        lambda photo, before, n: seen.append(before) or find(photo, before, n),
    )
    demo.run(None, photos, str(tmp_path / 'a'), texture=False)
    assert seen == [None] * len(seen)
    assert all(row['jitter_mm_per_frame2'] == '' for row in _rows(tmp_path / 'a'))
    demo.run(None, film, str(tmp_path / 'b'), max_frames=3, texture=False)
    assert seen[-1] is not None


def test_boxes_of_a_shrunk_frame_are_told_in_pixels_of_the_file(reconstructor, tmp_path):
    frames = [video.Frame('0', _draw()), video.Frame('1', _draw(), scale=0.5)]
    with demo_record.Record(str(tmp_path)) as record:
        for moment in person_stream.stream(
            reconstructor, frames, reconstructor.initial_state(), ordered=False
        ):
            record.add(moment)
    plain, shrunk = _rows(tmp_path)
    assert float(shrunk['x0']) == pytest.approx(2 * float(plain['x0']), abs=0.11)
