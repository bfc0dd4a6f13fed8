import contextlib
import itertools
import json
import multiprocessing
import os
import tarfile
import time
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import lease, lease_flagship, lease_pack
from data_prep.hard_pictures import people, workers
from data_prep.synthetic import ict_facekit
from seqface_jax import checkpoints
from seqface_jax.errors import UserError
from tests.helpers import small_face_model, small_pictures


def _part(name, code, **options):
    return lease.Part(name, options.pop('limit', 0.9), ('-c', code), **options)


def _run(parts, tmp_path, seconds=60):
    places = [str(tmp_path / name) for name in ('pack', 'out', 'work')]
    return lease.run(parts, places[0], places[1], seconds, places[2])


def test_what_a_part_says_and_writes_is_there_when_the_next_one_begins(tmp_path):
    write = "import os; os.mkdir('{work}/made'); open('{work}/made/a', 'w').write('hi'); print(7)"
    look = f"print(open('{tmp_path}/out/lease.json').read())"
    done = _run([_part('one', write, keeps=('made', 'absent')), _part('two', look)], tmp_path)
    assert [part['result'] for part in done] == ['done', 'done']
    assert done[0]['said'] == '7\n'
    assert json.loads(done[1]['said'])['parts'][0]['name'] == 'one'
    with tarfile.open(tmp_path / 'out' / 'one.tar.gz') as archive:
        assert 'made/a' in archive.getnames()


def test_a_part_that_fails_or_lacks_something_does_not_end_the_lease(tmp_path):
    parts = [
        _part('broken', 'raise SystemExit(3)'),
        _part('hungry', 'print(1)', needs='{pack}/nothing'),
        _part('last', 'print(2)'),
    ]
    done = _run(parts, tmp_path)
    assert [part['result'].split(':')[0] for part in done] == ['status 3', 'skipped', 'done']


@pytest.mark.slow
def test_a_part_is_ended_at_its_limit_with_its_children(tmp_path):
    child = 'import subprocess, sys; print(1, flush=True); '
    child += "subprocess.run([sys.executable, '-c', 'import time; time.sleep(300)'])"
    begin = time.perf_counter()
    done = _run([_part('slow', child, limit=0.1), _part('next', 'print(2)')], tmp_path, 60)
    assert time.perf_counter() - begin < 60
    assert done[0]['result'] == 'ended at its limit'
    assert done[1]['result'] == 'done'


def test_no_part_begins_when_the_time_is_up(tmp_path):
    done = _run([_part('late', 'print(1)')], tmp_path, seconds=1)
    assert done[0]['result'] == 'skipped: the time is up'


def test_the_parts_are_processes_that_exist_and_come_in_order_of_worth():
    assert [part.name for part in lease.PARTS][:3] == ['draw', 'train', 'measure']
    for part in lease.PARTS:
        assert part.arguments[0] == '-m'
        assert os.path.exists(part.arguments[1].replace('.', '/') + '.py')


def _people(path):
    rng = np.random.default_rng(0)
    deltas = rng.normal(0, 2, (3, 50, 3)).astype(np.float32)
    np.savez(path, makehuman_deltas=deltas, makehuman_mean=np.ones((50, 3), np.float32))
    return deltas


def test_what_is_unpacked_is_the_face_model_that_was_packed(tmp_path):
    source = small_face_model.write(tmp_path / 'FaceXModel')
    deltas = _people(tmp_path / 'kinds.npz')
    size = lease_pack.pack(source, tmp_path / 'kinds.npz', tmp_path / 'pack')
    assert 0 < size < 1
    lease_pack.unpack(tmp_path / 'pack', tmp_path / 'again')
    count = len(small_face_model.vertices_mm())
    for path in sorted((tmp_path / 'FaceXModel').glob('*.obj')):
        was = ict_facekit.read_vertices(path, count)
        now = ict_facekit.read_vertices(tmp_path / 'again' / path.name, count)
        np.testing.assert_allclose(now, was, atol=1.2e-4)
    with np.load(tmp_path / 'pack' / 'kinds.npz') as file:
        np.testing.assert_allclose(file['makehuman_deltas'], deltas, atol=5e-3)


def test_a_pack_that_is_too_large_is_refused(tmp_path):
    source = small_face_model.write(tmp_path / 'FaceXModel')
    _people(tmp_path / 'kinds.npz')
    with pytest.raises(UserError, match='more than the 0 that may be carried'):
        lease_pack.pack(source, tmp_path / 'kinds.npz', tmp_path / 'pack', limit_mib=0.01)
    with pytest.raises(UserError, match='is there already'):
        lease_pack.pack(source, tmp_path / 'kinds.npz', tmp_path / 'pack')
    with pytest.raises(UserError, match='holds no pack'):
        lease_pack.unpack(tmp_path / 'nothing', tmp_path / 'again')


def test_a_training_takes_as_many_steps_as_the_time_is_enough_for(tmp_path, monkeypatch):
    """A clock that says 0.1 s a step and 2 s around them; compiling takes another 8 s."""
    from seqface_jax.training import correspondence_training

    clock = SimpleNamespace(now=0.0, at=0)

    def run(config, workdir, stop_after=None):
        last = stop_after or config.train.num_steps
        is_first = not clock.at
        start = clock.at if workdir.endswith('.trial') else 0
        clock.now += 0.1 * (last - start) + 2 + 8 * is_first
        clock.at = last

    monkeypatch.setattr(lease_flagship, 'time', SimpleNamespace(perf_counter=lambda: clock.now))
    monkeypatch.setattr(correspondence_training, 'train', run)
    config = small_pictures.config(tmp_path)
    steps = lease_flagship.train(config, str(tmp_path / 'run'), 200)
    # 220 steps, three times 2 s and 8 s are 36 s; 162 s are left for 0.9 times 1620 steps.
    assert steps == pytest.approx(1458, abs=2)
    assert clock.now <= 200


@pytest.mark.slow
def test_a_tiny_lease_trains_on_the_cpu_and_its_loss_is_that_of_float32(tmp_path, monkeypatch):
    """The trial, which would compile three times more, is left out."""
    from seqface_jax.training import correspondence_training

    whole = correspondence_training.train

    def run(config, workdir, stop_after=None):
        if not workdir.endswith('.trial'):
            whole(config, workdir, stop_after)

    monkeypatch.setattr(correspondence_training, 'train', run)
    small_pictures.write(tmp_path)
    config = small_pictures.config(tmp_path)
    config.train.checkpoint_every_steps = 100
    steps = lease_flagship.train(config, str(tmp_path / 'run'), 0, probes=(1, 2, 4))
    assert steps == 4
    assert checkpoints.read_meta(str(tmp_path / 'run'), 'latest')['step'] == 4
    losses = lease_flagship.float32(str(tmp_path / 'run'))
    assert losses['default'] == pytest.approx(losses['highest'], rel=1e-4)


def test_a_lease_draws_on_the_cores_that_the_kinds_leave(monkeypatch, tmp_path):
    asked = []

    class Pool(contextlib.nullcontext):
        def __init__(self, processes, start, arguments):
            super().__init__(self)
            asked.append((processes, arguments))

        def imap_unordered(self, function, jobs):
            return self

        def next(self, timeout):
            raise multiprocessing.TimeoutError

        def terminate(self):
            asked.append('ended')

    monkeypatch.setattr(multiprocessing, 'get_context', lambda how: SimpleNamespace(Pool=Pool))
    monkeypatch.setattr(os, 'cpu_count', lambda: 16)
    monkeypatch.setattr(lease_flagship.lease_pack, 'unpack', lambda pack, face_dir: None)
    monkeypatch.setattr(workers, 'write_points', lambda folder, face_dir: None)
    monkeypatch.setattr(lease_flagship, '_sequences', lambda *args: contextlib.nullcontext())
    lease_flagship.draw('pack', tmp_path, 60)
    (count, (_, kinds, _, variety)), end = asked
    assert count == 13 and kinds == ('ict', 'makehuman') and variety == people.WIDE
    assert end == 'ended'


def test_the_drawing_processes_take_the_jobs_of_a_lease(monkeypatch):
    drawn = []
    monkeypatch.setattr(
        workers.shards, 'write', lambda *arguments, **kinds: drawn.append((*arguments, kinds))
    )
    for job in itertools.islice(lease_flagship.jobs('pictures'), 15):
        workers.draw(job)
    assert [number for _, _, number, _, _ in drawn] == list(range(15))
    assert sum(kinds['plain'] for *_, kinds in drawn) == 5
    assert sum(kinds['no_face'] for *_, kinds in drawn) == 1
    assert not any(kinds['plain'] and kinds['no_face'] for *_, kinds in drawn)
