"""Times one evaluation of 16384 points by our code and by the thesis's way; prints two tables.

python -m benchmarks.evaluation [--repeats=5]

The same prediction and target by every way, in turns, in one process; ratios are of CPU time, which
a busy machine stretches less than the clock. The thesis's way (its
appendix B-6 and the code it names): ICP of at most 100 iterations that builds the target's tree
anew in every one, then a Python loop that asks a tree about one point at a time. With
scikit-learn's trees where it is installed (`pip install scikit-learn`), as the thesis; else with
SciPy's, which are quicker.
"""

import importlib.util
import sys
import time

import numpy as np
from absl import app, flags
from scipy import spatial

from seqface_jax import errors, models
from seqface_jax.evaluation import metrics, scoring, streaming
from seqface_jax.geometry import alignment
from tests.helpers import bumpy_face

NUM_POINTS = 16384


def clouds(seed=0):
    """Returns a prediction and a target, [16384, 3] mm: two people in the canonical frame."""
    return tuple(
        bumpy_face.sample(bumpy_face.position_map_of(own), NUM_POINTS, own)
        for own in (seed, seed + 1)
    )


def _normalised(predicted, target):
    centre = target.mean(0)
    radius = np.linalg.norm(target - centre, axis=1).max()
    return (predicted - centre) / radius, (target - centre) / radius


def _icp(source, target, nearest):
    """The thesis's ICP; `nearest(source, target)` returns distances and indices."""
    moved, previous = source, 0.0
    for _ in range(100):
        distances, index = nearest(moved, target)
        moved = alignment.kabsch(moved, target[index]).apply(moved)
        if abs(previous - distances.mean()) < 1e-4:
            break
        previous = distances.mean()
    return alignment.kabsch(source, moved).apply(source)


def _diagonal(target):
    return np.linalg.norm(np.ptp(target, axis=0))


def _ask_sklearn(source, target):
    from sklearn import neighbors

    tree = neighbors.NearestNeighbors(n_neighbors=1).fit(target)
    distances, index = tree.kneighbors(source)
    return distances.ravel(), index.ravel()


def _ask_scipy(source, target):
    return spatial.cKDTree(target).query(source)


def loop_sklearn(moved, target):
    """The thesis's error of an aligned pair: one query and one distance per point."""
    from sklearn import neighbors

    tree = neighbors.KDTree(target)
    found = np.zeros(len(moved))
    for place, point in enumerate(moved):
        _, index = tree.query([point], k=1)
        found[place] = spatial.distance.euclidean(point, target[index[0][0]])
    return found.mean() / _diagonal(target)


def loop_scipy(moved, target):
    """The same with SciPy's tree."""
    tree = spatial.cKDTree(target)
    found = np.zeros(len(moved))
    for place, point in enumerate(moved):
        found[place], _ = tree.query(point)
    return found.mean() / _diagonal(target)


def batch_scipy(moved, target):
    """The same as `metrics.nme_thesis` does it: all points in one query."""
    return spatial.cKDTree(target).query(moved)[0].mean() / _diagonal(target)


def thesis_sklearn(predicted, target):
    """The thesis's nme, with the trees that its code uses."""
    predicted, target = _normalised(predicted, target)
    return loop_sklearn(_icp(predicted, target, _ask_sklearn), target)


def thesis_scipy(predicted, target):
    """The thesis's nme with SciPy's trees."""
    predicted, target = _normalised(predicted, target)
    return loop_scipy(_icp(predicted, target, _ask_scipy), target)


def batched_open3d(predicted, target):
    """Open3D's ICP (it stops by its own rule) and batched distances."""
    import open3d

    predicted, target = _normalised(predicted, target)
    source, destination = (
        open3d.geometry.PointCloud(open3d.utility.Vector3dVector(points))
        for points in (predicted, target)
    )
    registration = open3d.pipelines.registration
    found = registration.registration_icp(
        source,
        destination,
        1.0,
        np.eye(4),
        registration.TransformationEstimationPointToPoint(),
        registration.ICPConvergenceCriteria(1e-4, 1e-4, 100),
    )
    distances = source.transform(found.transformation).compute_point_cloud_distance(destination)
    return np.mean(distances) / _diagonal(target)


class AllMetrics:
    """Every metric of one answer of 16384 points against a scan (`scoring.score`)."""

    def __init__(self, seed=0):
        """Prepares the answer and the scan."""
        face, true = (bumpy_face.position_map_of(own) for own in (seed, seed + 1))
        mask = np.ones(face.shape[:2], bool)
        points = bumpy_face.sample(true, NUM_POINTS)[None]
        scans = [bumpy_face.scan_of(true)]
        known = bumpy_face.mask_of(true)[None]
        self._subjects = scoring.Subjects(['F001'], scans, points, true[None], known, [])
        prediction = models.Prediction(face, np.zeros(face.shape[:2]))
        self._answer = streaming.to_answer(prediction, ordered=True, mask=mask)

    def __call__(self, predicted, target):
        """Returns nme_thesis of its own faces, whatever it is given."""
        del predicted, target
        return scoring.score(self._subjects, 0, self._answer)['nme_thesis']


def ways():
    """Returns {stage: {name: function of predicted and target}}; the first name is the thesis's."""
    with_sklearn = importlib.util.find_spec('sklearn') is not None
    error, whole = {}, {}
    if with_sklearn:
        error['thesis: one scikit-learn query a point'] = loop_sklearn
        whole['thesis: ICP, one scikit-learn query a point'] = thesis_sklearn
    error['thesis: one SciPy query a point'] = loop_scipy
    error['ours: one SciPy query for all'] = batch_scipy
    whole['thesis: ICP, one SciPy query a point'] = thesis_scipy
    if importlib.util.find_spec('open3d') is not None:
        whole['Open3D: ICP, batched distances'] = batched_open3d
    whole['ours: metrics.nme_thesis'] = metrics.nme_thesis
    whole['ours: all metrics (scoring.score)'] = AllMetrics()
    return {'error of an aligned pair': error, 'ICP and error': whole}


def measure(functions, repeats):
    """Times functions in turns.

    Returns:
        {name: (value, [wall seconds], [CPU seconds])}.
    """
    predicted, target = clouds()
    for function in functions.values():  # Imports and warms up.
        function(predicted[::64], target[::64])
    found = {name: [None, [], []] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            wall, cpu = time.perf_counter(), time.process_time()
            found[name][0] = float(function(predicted, target))
            found[name][1].append(time.perf_counter() - wall)
            found[name][2].append(time.process_time() - cpu)
    return found


def table(stage, found):
    """Returns the medians as Markdown; ratios are of CPU time, over the first row."""
    head = f'| {stage}, {NUM_POINTS} points | nme_thesis | CPU ms | wall ms | times as fast |'
    lines = [head, '|---|---|---|---|---|']
    base = None
    for name, (value, wall, cpu) in found.items():
        wall, cpu = np.median(wall), np.median(cpu)
        base = base or cpu
        lines.append(
            f'| {name} | {value:.9f} | {1e3 * cpu:.1f} | {1e3 * wall:.1f} | {base / cpu:.1f} |'
        )
    return '\n'.join(lines) + '\n'


@errors.exit_on_user_error
def main(argv):
    """Times both ways and prints the two tables."""
    if argv[1:]:
        raise app.UsageError(f'unexpected arguments: {argv[1:]}')
    if flags.FLAGS.repeats < 1:
        raise errors.UserError('--repeats must be at least 1')
    for stage, functions in ways().items():
        sys.stdout.write(table(stage, measure(functions, flags.FLAGS.repeats)) + '\n')


def define_flags():
    """Defines the flags, when the command runs: two commands may have flags of one name."""
    flags.DEFINE_integer('repeats', 5, 'Turns that are timed.')


if __name__ == '__main__':
    define_flags()
    app.run(main)
