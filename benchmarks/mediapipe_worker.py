"""Runs MediaPipe's face mesh on pictures; runs in an environment of its own, without this project.

python mediapipe_worker.py IN.npz OUT.npz

IN holds pictures, uint8 RGB [H, W, 3], under '0', '1', ... OUT holds `landmarks` [N, 468, 2] px (x
right, y down, the middle of pixel k at k + 0.5), `depth` [N, 468] px (away from the viewer), NaN
where no face is found, CPU `seconds` [N], and `edges` [E, 2] of its mesh.
"""

import sys
import time

import mediapipe
import numpy as np

NUM_LANDMARKS = 468


def main(source, target):
    """Reads pictures and writes landmarks."""
    solution = mediapipe.solutions.face_mesh
    with np.load(source) as file:
        pictures = [file[str(index)] for index in range(len(file.files))]
    places, depth, seconds = [], [], []
    # Photos are no sequence: each is looked at by itself.
    with solution.FaceMesh(static_image_mode=True, max_num_faces=1) as mesh:
        mesh.process(np.zeros((64, 64, 3), np.uint8))  # Loads the models.
        for picture in pictures:
            height, width = picture.shape[:2]
            side = max(height, width)  # Its landmarks are right in squares only, as it warns.
            square = np.pad(picture, ((0, side - height), (0, side - width), (0, 0)))
            begin = time.process_time()
            faces = mesh.process(square).multi_face_landmarks
            seconds.append(time.process_time() - begin)
            found = np.full((NUM_LANDMARKS, 3), np.nan)
            if faces:
                own = faces[0].landmark[:NUM_LANDMARKS]
                found = np.array([[point.x, point.y, point.z] for point in own])
            places.append(found[:, :2] * side)
            depth.append(found[:, 2] * side)
    np.savez(
        target,
        landmarks=np.array(places),
        depth=np.array(depth),
        seconds=np.array(seconds),
        edges=np.array(sorted(solution.FACEMESH_TESSELATION)),
    )


if __name__ == '__main__':
    main(*sys.argv[1:])
