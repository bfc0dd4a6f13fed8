"""Whether the photos that a run goes on with show the person of the state that it goes on from."""

import itertools
import os

from seqface_jax.errors import writing_to
from seqface_jax.photos import own_files

# Log odds of two people from which they are likelier by 20 to 1: "strong" evidence in the scale of
# Kass and Raftery, 1995. Of 52 made-up people of three kinds, each in light of its own on every
# photo, 2 % are then doubted and 60 % of others found, where the state is of two photos and one is
# new; 2 and 65 % of four and one, 0 and 69 % of two and two, 0 and 82 % of four and four.
STRONG = 3.0
FEWEST = 3  # Photos of both together: of one and one, 12 % are doubted.


class ContinuedState:
    """A state to go on from, and what the new photos say without it; in memory of constant size."""

    def __init__(self, reconstructor, before):
        """Takes a reconstructor and the State before the first new photo.

        Nothing is compared where `before` is of no photo, both are of fewer than FEWEST, or the
        reconstructor's network cannot.
        """
        self._reconstructor, self._before = reconstructor, before
        compares = hasattr(reconstructor, 'log_odds_of_one_person')
        self._is_compared = compares and before.network is not None
        self._new = reconstructor.initial_state()

    def add(self, observation):
        """Takes note of an Observation that was used."""
        if self._is_compared:
            self._new = self._reconstructor.added(self._new, observation)

    @property
    def log_odds(self):
        """How much likelier the photos are of the state's person than of another, a log."""
        num_photos = self._before.num_frames + self._new.num_frames
        if not self._is_compared or num_photos < FEWEST:
            return 0.0
        return self._reconstructor.log_odds_of_one_person(self._before, self._new)

    def keep(self, output):
        """Writes the state as it was into `output`, where the photos seem to be of another person.

        Returns:
            list of str, what to tell a person; empty where there is no doubt.

        Raises:
            UserError: it cannot be written.
        """
        odds = self.log_odds
        if odds > -STRONG:
            return []
        folder = os.path.join(output, own_files.PREVIOUS)
        with writing_to(folder):
            os.makedirs(folder, exist_ok=True)
        path = _free_path(folder)
        self._reconstructor.save_state(path, self._before)
        return [
            f'warning: the new photos seem to show another person than the state (log odds '
            f'{odds:.1f}); both are mixed now: if so, begin without --state; the state as it was '
            f'is {path}'
        ]


def _free_path(folder):
    """Returns the path of a state that is not yet in a folder."""
    stem, extension = os.path.splitext(own_files.STATE)
    for number in itertools.count(1):
        name = own_files.STATE if number == 1 else f'{stem}_{number}{extension}'
        path = os.path.join(folder, name)
        if not os.path.exists(path):
            return path
