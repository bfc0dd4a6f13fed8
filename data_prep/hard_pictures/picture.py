"""One hard picture: a person of any kind, with everything about it that is known."""

from typing import NamedTuple

import cv2
import numpy as np

from data_prep.hard_pictures import camera, damage, looks, painter, people, things
from data_prep.hard_pictures.template_model import NUM_SKIN, NUM_USED
from seqface_jax.geometry import surface

SIZE = 160  # Pixels a side; training cuts 128 out of them.
_WALL = 0.8  # Grey behind a portrait, in levels of the face.
_NO_FACE = 0.1  # Share of pictures that show no face, for the face score.


class World(NamedTuple):
    """All that pictures are made of, loaded once.

    Attributes:
        kinds: people.Kinds.
        places: looks.Places.
        points: [P] template vertices whose places are told.
    """

    kinds: people.Kinds
    places: looks.Places
    points: np.ndarray

    def of_person(self, kind, skin):
        """Returns the World whose pictures are of one person, of `people.sample` or `of_kind`."""
        return self._replace(kinds=self.kinds._replace(fixed=(kind, skin)))


class Picture(NamedTuple):
    """What is stored of a picture.

    Attributes:
        image: [SIZE, SIZE, 3] uint8 RGB.
        places: [P, 2] float32, x right and y down in pixels from the upper left corner.
        seen: [P] bool.
        is_face: whether a face is to be found in it.
        kind: of person.
        expression: [E] float32 blendshape weights.
        rotation, translation, center, half: of camera.View.
    """

    image: np.ndarray
    places: np.ndarray
    seen: np.ndarray
    is_face: bool
    kind: str
    expression: np.ndarray
    rotation: np.ndarray
    translation: np.ndarray
    center: np.ndarray
    half: float


class Portrait(NamedTuple):
    """What a picture is told, rather than drawn at random; before a grey wall.

    Attributes:
        view: camera.View.
        expression: [E] blendshape weights.
        looks: int, the seed of skin, hair and clothes, the same on all pictures of a person.
        is_studio: whether the light is soft and the same on all pictures; else it is drawn.
    """

    view: camera.View
    expression: np.ndarray
    looks: int
    is_studio: bool = True


def make(world, rng, *, plain=False, portrait=None, view=None, size=SIZE):
    """Draws one picture.

    Args:
        world: World of the person, whose `kinds.fixed` is set.
        rng: numpy Generator of everything but the shape: looks tell nothing of it.
        plain: a picture like people's own photos: little in front, no damage, no profile.
        portrait: Portrait, or None: all is drawn.
        view: camera.View; None: the portrait's, or drawn.
        size: pixels a side.

    Returns:
        Picture.
    """
    model = world.kinds.model
    kind, skin = world.kinds.fixed
    expression = people.sample_expression(model.expression_names, rng)
    expression = expression if portrait is None else portrait.expression
    vertices = model.with_expression(skin, expression)
    if view is None:
        view = camera.sample(rng, plain=plain) if portrait is None else portrait.view
    is_face = plain or rng.random() >= _NO_FACE
    if not is_face:
        view = _missed(view, rng)
    looks_rng = rng if portrait is None else np.random.default_rng(portrait.looks)
    scene, normals = dressed(world, vertices, looks_rng, plain)
    is_told = portrait is not None
    if is_told and portrait.is_studio:
        lights = painter.studio_lights(view.rotation)
    else:
        lights = painter.sample_lights(rng, view.rotation)
    picture, hit = painter.draw(scene, view, size, lights, rng)
    if not is_face and rng.random() < 0.3:
        hit[:] = False  # Nothing but a background.
    behind = np.median(picture[hit]) * _WALL if is_told else damage.background(len(picture), rng)
    picture = painter.lay_over(picture, hit, behind)
    picture = damage.develop(picture, hit) if is_told else damage.expose(picture, hit, rng)
    picture = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)
    image = damage.as_file(picture) if plain else damage.spoil(picture, rng)
    points = vertices[world.points]
    seen = painter.seen_points(scene, view, points, normals[world.points], size)
    places = view.place(points, size).astype(np.float32)
    if not is_face:
        turns = rng.integers(0, 4)
        image = np.rot90(image, turns) if turns else image
        seen = np.zeros_like(seen)
    return Picture(image, places, seen, is_face, kind, expression, *view)


def _missed(view, rng):
    """Returns a View in which no face is to be found: beside it, far off in size, from behind."""
    kind = rng.random()
    if kind < 0.35:
        angle = rng.uniform(0, 2 * np.pi)
        shift = rng.uniform(1.1, 2.0) * np.array([np.cos(angle), np.sin(angle)])
        return view._replace(center=view.center + view.half * shift)
    if kind < 0.55:
        return view._replace(
            half=view.half * rng.choice([rng.uniform(0.12, 0.3), rng.uniform(3, 6)])
        )
    turn = (
        np.diag([-1.0, 1.0, -1.0]) if kind < 0.75 else np.diag([-1.0, -1.0, 1.0])
    )  # Behind, upside down.
    middle = np.array([0.0, 0.0, 45.0]) @ view.rotation.T + view.translation
    rotation = view.rotation @ turn
    return view._replace(rotation=rotation, translation=middle - rotation @ [0.0, 0.0, 45.0])


def dressed(world, vertices, rng, plain):
    """Returns the Scene of a dressed head and the head's normals [NUM_USED, 3]."""
    model = world.kinds.model
    albedo, gloss, hair_tone = looks.paint(world.places, model, vertices, rng)
    head = np.concatenate([model.triangles[name] for name in ('skin', 'gums', 'teeth', 'eyes')])
    normals = surface.vertex_normals(vertices, head).astype(np.float32)
    sky = np.full(NUM_USED, 0.55, np.float32)
    sky[:NUM_SKIN] = world.places.open_sky
    sky[21451:] = 0.8
    tone = np.median(albedo[:NUM_SKIN], axis=0)
    worn = things.dress(world.places, model, vertices, normals, tone, hair_tone, rng, plain=plain)
    offsets = NUM_USED + np.cumsum([0, *[len(thing.vertices) for thing in worn]])
    scene = painter.Scene(
        np.concatenate([vertices, *[thing.vertices for thing in worn]]),
        np.concatenate([head, *[t.triangles + o for t, o in zip(worn, offsets, strict=False)]]),
        np.concatenate([albedo, *[thing.albedo for thing in worn]]),
        np.concatenate([gloss, *[thing.gloss for thing in worn]]),
        np.concatenate([sky, *[np.full(len(thing.vertices), 0.85, np.float32) for thing in worn]]),
    )
    return scene, normals
