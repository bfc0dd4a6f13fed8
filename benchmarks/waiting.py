"""What a person waits for: from the command to the files, for photos and a video; and its memory.

python -m benchmarks.waiting                          # some seconds of video; two minutes or so
python -m benchmarks.waiting --video_seconds=60       # the whole minute
python -m benchmarks.waiting --environment=runs/mediapipe     # beside MediaPipe's face mesh

Each row is `run_demo.py` in a fresh process, all of its files written: one photo with an empty
compilation cache, the same again, ten photos, a video of two frames, which has programs of its own
to compile, the same again, and a video of 30 frames a second. Pictures are of
scikit-image's astronaut, moved and lit a little differently. CPU seconds stand beside the wall
clock, as they do not depend on who else uses the machine. Frames a second are of the long video
without what the short one takes. MediaPipe, where its environment is (benchmarks/peers.py makes
it), gives landmarks of the same pictures and no files: it is the least that a peer must do. Ratios
to it are of CPU seconds.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time

import cv2
import numpy as np
from absl import app, flags
from skimage import data

from benchmarks import mediapipe_mesh, race
from seqface_jax import errors

FRAMES_PER_SECOND = 30
NUM_PHOTOS = 10
SHORT = 2  # Frames of the short video.
_MINUTE = 60 * FRAMES_PER_SECOND
_LOOK_S = 0.02  # Seconds between two looks at a program's memory.


def pictures(count):
    """Returns photos [512, 512, 3] uint8 of one face that sways; no two are equal."""
    photo, shown = data.astronaut(), []
    for number in range(count):
        phase = 2 * np.pi * number / 60
        matrix = cv2.getRotationMatrix2D((224, 120), 3 * np.sin(phase), 1 + 0.03 * np.cos(phase))
        matrix[:, 2] += [8 * np.sin(0.7 * phase), 4 * np.cos(1.3 * phase)]
        moved = cv2.warpAffine(photo, matrix, (512, 512), borderMode=cv2.BORDER_REPLICATE)
        light = 1 + 0.08 * np.sin(0.31 * number)
        shown.append(np.clip(light * moved, 0, 255).astype(np.uint8))
    return shown


def write_inputs(folder, video_frames):
    """Writes one photo, ten photos and two videos; returns their paths by name."""
    paths = {name: os.path.join(folder, name) for name in ('one', 'ten')}
    for name, count in (('one', 1), ('ten', NUM_PHOTOS)):
        os.makedirs(paths[name])
        for number, picture in enumerate(pictures(count)):
            place = os.path.join(paths[name], f'{number:02d}.png')
            cv2.imwrite(place, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    for name, count in (('short', SHORT), ('video', video_frames)):
        paths[name] = os.path.join(folder, f'{name}.avi')
        writer = cv2.VideoWriter(
            paths[name], cv2.VideoWriter_fourcc(*'MJPG'), FRAMES_PER_SECOND, (512, 512)
        )
        for picture in pictures(count):
            writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        writer.release()
    return paths


def timed(arguments, environment=None):
    """Runs a program to its end; returns its seconds, CPU seconds and most memory, MB.

    Args:
        arguments: all words of the command.
        environment: dict of variables that differ.

    Raises:
        UserError: it ends with an error.
    """
    begin = time.perf_counter()
    with tempfile.TemporaryFile('w+') as said:
        process = subprocess.Popen(
            arguments,
            cwd=race.ROOT,
            env=os.environ | (environment or {}),
            stdout=said,
            stderr=said,
        )
        ended, peak_mb = 0, 0.0
        while not ended:
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
            if not ended:
                peak_mb = max(peak_mb, _peak_mb(process.pid))
                time.sleep(_LOOK_S)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            last = (said.read().strip().splitlines() or ['nothing'])[-1]
            raise errors.UserError(f'{" ".join(arguments[:3])} ended with an error: {last}')
    return {
        'seconds': time.perf_counter() - begin,
        'cpu_seconds': usage.ru_utime + usage.ru_stime,
        'peak_mb': peak_mb,
    }


def _peak_mb(pid):
    """Returns the most resident memory that a process has had, MB; 0 when it has ended (Linux)."""
    # What wait4 says is never below the memory of the process that started it.
    try:
        with open(f'/proc/{pid}/status', encoding='utf-8') as file:
            found = re.search(r'VmHWM:\s*(\d+) kB', file.read())
    except OSError:
        return 0.0
    return int(found[1]) / 1024 if found else 0.0


def measure(workdir, video_frames, python=None):
    """Runs everything once.

    Args:
        workdir: of a run; None for the packaged one.
        video_frames: of the video.
        python: interpreter of MediaPipe's environment, or None.

    Returns:
        dict of name -> dict of numbers.
    """
    with tempfile.TemporaryDirectory() as folder:
        paths = write_inputs(folder, video_frames)
        cache = {'JAX_COMPILATION_CACHE_DIR': os.path.join(folder, 'cache')}

        def demo(source):
            output = os.path.join(folder, 'out')
            arguments = [sys.executable, 'run_demo.py', f'--input={source}', f'--output={output}']
            arguments += [f'--workdir={workdir}'] if workdir else []
            return timed(arguments, cache)

        found = {'one photo, cold cache': demo(paths['one'])}
        found['one photo, warm cache'] = demo(paths['one'])
        found[f'{NUM_PHOTOS} photos'] = demo(paths['ten'])
        for warmth in ('cold', 'warm'):
            found[f'video, {SHORT} frames, {warmth} cache'] = demo(paths['short'])
        found[f'video, {video_frames} frames'] = demo(paths['video'])
        if python is not None:
            found |= _peer(python, folder)
    return with_rates(found, video_frames)


def _peer(python, folder):
    """Returns MediaPipe's rows: one photo from the command on, and frames by themselves."""
    source = os.path.join(folder, 'photo.npz')
    np.savez(source, **{'0': pictures(1)[0]})
    worker = os.path.join(race.ROOT, 'benchmarks', 'mediapipe_worker.py')
    one = timed([python, worker, source, os.path.join(folder, 'landmarks.npz')])
    seconds = mediapipe_mesh.find(python, pictures(60)).seconds
    frame = {'cpu_seconds': race.median(seconds)}
    return {'MediaPipe, one photo': one, 'MediaPipe, a frame': frame}


def with_rates(found, video_frames):
    """Adds frames a second, the time of a minute of video, and ratios to MediaPipe."""
    short = found[f'video, {SHORT} frames, warm cache']
    video = found[f'video, {video_frames} frames']
    cpu_seconds = (video['cpu_seconds'] - short['cpu_seconds']) / (video_frames - SHORT)
    rate = (video_frames - SHORT) / max(video['seconds'] - short['seconds'], 1e-6)
    video['frames_a_second'] = rate
    minute = {'seconds': short['seconds'] + (_MINUTE - SHORT) / rate}
    found['a minute of video, computed'] = minute | {'frames_a_second': rate}
    peer = found.get('MediaPipe, one photo')
    if peer is not None:
        for name in ('one photo, cold cache', 'one photo, warm cache'):
            found[name]['times_mediapipe'] = found[name]['cpu_seconds'] / peer['cpu_seconds']
        video['times_mediapipe'] = cpu_seconds / found['MediaPipe, a frame']['cpu_seconds']
    return found


def table(found):
    """Returns the rows as Markdown."""
    titles = {'seconds': '.2f', 'cpu_seconds': '.2f', 'peak_mb': '.0f', 'frames_a_second': '.1f'}
    titles |= {'times_mediapipe': '.1f'}
    heads = ('', 's', 'CPU s', 'peak MB', 'frames a second', 'times MediaPipe')
    lines = ['| ' + ' | '.join(heads) + ' |', '|---' * len(heads) + '|']
    for name, row in found.items():
        cells = [format(row[key], digits) if key in row else '-' for key, digits in titles.items()]
        lines.append(f'| {name} | ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines) + '\n'


def define_flags():
    """Defines the flags, when the command runs: two commands may have flags of one name."""
    flags.DEFINE_string('workdir', None, 'A trained run; the packaged one if left out.')
    flags.DEFINE_float('video_seconds', 4.0, 'Of the video.', lower_bound=0.1)
    flags.DEFINE_string('environment', None, "Folder of MediaPipe's environment; none: no peer.")
    flags.DEFINE_string('output', None, 'JSON file for the numbers; none if left out.')


@errors.exit_on_user_error
def main(argv):
    """Measures and prints the table."""
    if argv[1:]:
        raise app.UsageError(f'unexpected arguments: {argv[1:]}')
    values, python = flags.FLAGS, None
    if values.environment is not None:
        python = mediapipe_mesh.python_of(values.environment, install=False)
    frames = max(SHORT + 1, round(values.video_seconds * FRAMES_PER_SECOND))
    found = measure(values.workdir, frames, python)
    sys.stdout.write(table(found))
    if values.output is not None:
        with open(values.output, 'w', encoding='utf-8') as file:
            json.dump(found, file, indent=2)


if __name__ == '__main__':
    define_flags()
    app.run(main)
