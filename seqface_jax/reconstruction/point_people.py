"""Everybody seen by the flagship, and what tells them apart: shapes, looks and places."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from seqface_jax.reconstruction import people_assignment


class Group(NamedTuple):
    """Everybody seen so far; its size grows with the people only.

    Attributes:
        states: reconstruct.State by person; people are numbered from 0 in order of appearance.
        detections: Sighting by person, of those who were used on the last photo.
        looks: people_assignment.Looks by person, the mean of their photos.
    """

    states: Mapping[int, Any]
    detections: Mapping[int, Any]
    looks: Mapping[int, Any]


def decide(stream, group, photo, observations, *, video):
    """Returns a people_assignment.Decision for each face; its people are in order of number.

    Args:
        stream: flagship.Stream.
        group: Group.
        photo: [H, W, 3] uint8 RGB.
        observations: reconstruct.Observation of each face that can be used, with its outcome.
        video: whether the photo follows the last one in time.
    """
    people = sorted(group.states)
    shapes = [stream.coefficients(group.states[person].network) for person in people]
    faces = np.zeros((len(observations), len(people)))
    places = np.zeros_like(faces)
    for row, observation in enumerate(observations):
        outcome = observation.outcome
        looks = looks_of(stream, photo, outcome.sighting)
        for column, person in enumerate(people):
            alike = people_assignment.likeness(group.looks[person], looks)
            apart = stream.distance(outcome.fit, shapes[column])
            faces[row, column] = people_assignment.face_evidence(alike, apart)
            old = group.detections.get(person)
            places[row, column] = people_assignment.place_evidence(
                outcome.sighting.crop, None if old is None else old.crop
            )
    return people_assignment.assign(faces, places if video else None)


def named(decision, people, first_new):
    """Returns the number of a Decision's person and, in words, who else it may be.

    Args:
        decision: people_assignment.Decision.
        people: list of the numbers of those known.
        first_new: number of the next new person.
    """

    def number(index):
        return people[index] if index < len(people) else first_new

    person = number(decision.person)
    names = [
        f'person {n + 1}' if n in people else 'somebody new'
        for n in (person, *([] if decision.rival is None else [number(decision.rival)]))
    ]
    return person, ' or '.join(names)


def remembered(mean, stream, photo, sighting):
    """Returns a person's mean Looks after one more photo; `mean` is None before the first."""
    return people_assignment.joined(mean, looks_of(stream, photo, sighting))


def looks_of(stream, photo, sighting):
    """Returns the people_assignment.Looks of a Sighting on a photo."""
    points = np.asarray(stream.geometry.points.mean)
    return people_assignment.looks_of(photo, sighting, points)
