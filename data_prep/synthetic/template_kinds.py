"""Carries every kind of made-up face to the template, and writes all to one file.

    python -m data_prep.synthetic.template_kinds --ict_dir=FaceXModel --makehuman=head.npz \\
        --out=kinds.npz

The registration takes about a minute; hard_pictures/workers.py draws people from the file.
"""

import pathlib

import numpy as np
from absl import app, flags, logging

from data_prep.registration import canonical
from data_prep.scans.scan import Scan
from data_prep.synthetic import (
    head,
    makehuman,
    mesh_face,
    template_marks,
    template_mesh,
    template_transfer,
)
from data_prep.synthetic.embedded_face import face_model
from data_prep.synthetic.registration_template import template
from seqface_jax import errors, files
from seqface_jax.commands import command_line

_BALL_MM = head.EYE_RADIUS - 0.4  # The embedded lids' margins end this far from an eye's centre.
_LIP_MM = 0.8  # From the embedded seam of the lips down to the landmarks of the lower lip.
_EMBEDDED_CHIN = (-0.85, 0.52)  # y and z of the normal at landmark 8, as on the template.


def build(ict_folder, makehuman_path):
    """Returns {name: array} of the file; see `write`."""
    mesh = template_mesh.read(ict_folder)
    pockets = template_mesh.pockets(mesh.mean, mesh.triangles)
    logging.info('template: %d vertices, %d in pockets', len(mesh.mean), pockets.sum())
    arrays = {
        'template_mean': np.float32(mesh.mean),
        'template_triangles': mesh.triangles,
        'template_landmarks': np.int32(mesh.landmarks),
        'template_pockets': pockets,
        'ict_identity': mesh.identity,
        'canonical_rotation': mesh.rotation,
        'canonical_translation': mesh.translation,
    }
    for rim, name in zip(
        template_mesh.eye_rims(mesh.mean, mesh.triangles, mesh.landmarks),
        ('left_eye_rim', 'right_eye_rim'),
        strict=True,
    ):
        arrays[name] = np.int32(rim)
    return arrays | _makehuman(mesh, makehuman_path) | _embedded(mesh, pockets)


def _makehuman(mesh, path):
    """Returns the arrays of MakeHuman's people."""
    model = makehuman.read(path)
    weights = model.mean_weights()
    mean = model.vertices(weights)
    matrix, triangles = makehuman.surface_matrix(model)
    frame, _ = canonical.register(Scan(np.float32(mean), model.triangles), template())
    target = template_transfer.CastSurface(frame.apply(matrix @ mean), triangles)
    points, rims = makehuman.landmark_points(model, mean, matrix, triangles)
    points = {k: frame.apply(point[None])[0] for k, point in points.items()}
    rims = [frame.apply(rim) for rim in rims]
    binding = _transfer(mesh, target, points, rims, frame.apply(matrix @ mean))
    carry = binding.matrix(len(target.normals)) @ matrix
    deltas = np.stack([carry @ delta for delta in model.deltas]) @ frame.rotation.T
    # The height of the body is no part of the face; without it half precision is enough.
    deltas -= deltas[:, : template_mesh.NUM_FACE].mean(axis=1, keepdims=True)
    return {
        'makehuman_mean': np.float32(carry @ frame.apply(mean) + binding.offsets),
        'makehuman_deltas': np.float16(deltas),
        'makehuman_names': np.array(model.names),
        'makehuman_largest': np.float32(model.largest),
        'makehuman_mean_weights': np.float32(weights),
        'makehuman_bound': binding.bound,
    }


def _embedded(mesh, pockets):
    """Returns the arrays of the embedded face's people."""
    model = face_model()
    rows, columns = model.head_shape
    mean_head = head.mean_head()
    covered = np.ones(len(model.mean), bool)
    covered[: rows * columns] = mean_head.inside_eye.ravel() < 0.5
    skin = covered & (model.part <= 1)  # Head and ears.
    triangles = model.triangles[skin[model.triangles].all(axis=1)]
    target = template_transfer.CastSurface(model.mean, triangles)
    outer, _ = mesh_face._outer_head()  # noqa: SLF001 - its formulas are this face's landmarks.
    points = mesh_face._landmark_targets(mesh.mean[mesh.landmarks], outer)  # noqa: SLF001
    points[8] = _chin(model, target)
    for landmark in (65, 66, 67):  # There the seam is known: the lower lip begins below it.
        points[landmark] = target.nearest(points[landmark][None] - [0.0, _LIP_MM, 0.0])[0][0]
    vertices = model.mean.astype(np.float64)
    rims = _embedded_lids(model, triangles, points)
    binding = _transfer(mesh, target, points, rims, vertices[model.part == 1], pockets)
    carry = binding.matrix(len(vertices))
    base = model.neutral(np.zeros(model.num_identity)).astype(np.float64)
    fields = np.eye(model.num_identity, dtype=np.float32) @ model._identity  # noqa: SLF001
    fields = fields.reshape(model.num_identity, -1, 3)
    return {
        'embedded_mean': np.float32(carry @ base + binding.offsets),
        'embedded_identity': np.float32(np.stack([carry @ field for field in fields])),
        'embedded_names': np.array(model.identity_names),
        'embedded_bound': binding.bound,
    }


def _embedded_lids(model, triangles, points):
    """Returns where the eye holes' rims lie, two [P, 3] mm; puts the eyes' corners into `points`.

    The embedded lids end at their edge. The template's have a margin, which is made to reach
    from the edge to the eyeball.
    """
    vertices = model.mean.astype(np.float64)
    corners = {42: 'left_eye_inner', 45: 'left_eye_outer', 39: 'right_eye_inner',
               36: 'right_eye_outer'}  # fmt: skip
    marks = np.zeros(68, np.int64)
    for landmark, name in corners.items():
        marks[landmark] = model.landmarks[name]
    rims = []
    for rim, side, (inner, outer) in zip(
        template_mesh.eye_rims(vertices, triangles, marks),
        (1, -1),
        ((42, 45), (39, 36)),
        strict=True,
    ):
        edge = vertices[rim]
        points[inner] = edge[np.argmin(np.abs(edge[:, 0]))]
        points[outer] = edge[np.argmax(np.abs(edge[:, 0]))]
        center = head.EYE_CENTER * [side, 1.0, 1.0]
        away = np.linalg.norm(edge - center, axis=1, keepdims=True)
        rims.append(center + (edge - center) * np.minimum(_BALL_MM / away, 1.0))
    return rims


def _chin(model, target):
    """Returns the place of landmark 8 on the embedded face: where the midline faces as there."""
    rows, columns = model.head_shape
    midline = np.arange(rows) * columns + columns // 2
    y = model.mean[midline, 1]
    top, bottom = (model.mean[model.landmarks[name], 1] for name in ('chin_tip', 'chin_bottom'))
    midline = midline[(y < top) & (y > bottom - 3.0)]
    likeness = target.normals[midline][:, 1:] @ np.array(_EMBEDDED_CHIN)
    return model.mean[midline[np.argmax(likeness)]].astype(np.float64)


def _transfer(mesh, target, points, rims, ears, closed=None):
    """Returns the Binding of the template to a kind's mean surface."""
    surface = template_transfer.CastSurface(mesh.mean, mesh.triangles)
    vertices, places = template_marks.marks(mesh, points, rims)
    guides = template_marks.guides(mesh, surface, target, ears)
    return template_transfer.transfer(
        mesh.mean, mesh.triangles, target, vertices, places, guides=guides, closed=closed
    )


def write(path, arrays):
    """Writes the file whole or not at all.

    Its arrays, N template vertices, mm, canonical frame: template_mean [N, 3], triangles,
    landmarks; canonical_rotation and canonical_translation from ICT's vertices in mm; and of the
    kinds: ict_identity [40, N, 3] and embedded_identity [K, N, 3], fields of one standard
    deviation, so that a neutral face is its mean + identity @ fields; and makehuman_deltas
    [466, N, 3], where it is makehuman_mean + (weights - makehuman_mean_weights) @ deltas.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_arrays(path, arrays)


def define_flags():
    """Defines the flags, when the command runs: two commands may have flags of one name."""
    flags.DEFINE_string('ict_dir', None, 'FaceXModel of ICT-FaceKit Light.')
    flags.DEFINE_string('makehuman', None, 'head.npz of MakeHuman, or its folder.')
    flags.DEFINE_string('out', None, 'File to write, .npz.')


@errors.exit_on_user_error
def main(argv):
    """Carries the kinds to the template and writes the file."""
    if argv[1:]:
        raise app.UsageError(f'unexpected arguments: {argv[1:]}')
    write(flags.FLAGS.out, build(flags.FLAGS.ict_dir, flags.FLAGS.makehuman))


if __name__ == '__main__':
    define_flags()
    command_line.require(
        ict_dir='FaceXModel of ICT-FaceKit', makehuman='head.npz', out='FILE to write, .npz'
    )
    app.run(main, flags_parser=command_line.parse)
