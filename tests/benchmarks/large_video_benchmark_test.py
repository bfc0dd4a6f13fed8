import numpy as np

from benchmarks import large_video
from seqface_jax import demo
from seqface_jax.photos import video


def test_the_film_has_its_size_and_the_photograph_in_its_middle(tmp_path):
    large_video.film(str(tmp_path / 'x.mp4'), (320, 180), 3)
    frames = list(video.open_source(str(tmp_path / 'x.mp4')).frames)
    assert len(frames) == 3 and frames[0].photo.shape == (180, 320, 3)
    middle, rim = frames[0].photo[:, 70:250], frames[0].photo[:, :60]
    assert middle.std() > 50 > np.diff(rim.astype(int), axis=1).std()


def test_a_frame_takes_what_the_longer_run_takes_more(monkeypatch):
    now = [0.0]

    def run(workdir, path, output, max_frames):
        now[0] += 5.0 + 0.25 * max_frames  # Seconds: compiling, and each frame.

    monkeypatch.setattr(demo, 'run', run)
    monkeypatch.setattr(large_video.time, 'perf_counter', lambda: now[0])
    assert large_video.seconds_per_frame('x', 'out', 4, 34) == 0.25
