"""The devices of all processes, and what of a batch goes to each."""

import jax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from seqface_jax.errors import UserError
from seqface_jax.training import objective

# Name of the mapped axis of devices; normalisation over the whole batch averages over it.
AXIS = 'batch'


class Devices:
    """The devices of all processes; the batch is split over them, all else is on each."""

    def __init__(self, batch_size):
        devices = jax.devices()
        self.count = len(devices)
        self.platform = devices[0].platform
        if batch_size % self.count:
            raise UserError(
                f'data.batch_size={batch_size} cannot be split over {self.count} devices: choose a '
                f'multiple of {self.count}'
            )
        # pmap takes arrays laid out on a mesh of the same axis as they are: no second compilation.
        mesh = jax.make_mesh((self.count,), (AXIS,), axis_types=(AxisType.Auto,), devices=devices)
        self._replicated = NamedSharding(mesh, PartitionSpec())
        self._split = NamedSharding(mesh, PartitionSpec(AXIS))

    def map(self, function, *, num_outputs, donate):
        """Maps function(replicated, part of a batch) over the devices; outputs are replicated."""
        return jax.pmap(
            function,
            axis_name=AXIS,
            in_axes=(None, 0),
            out_axes=None if num_outputs == 1 else (None,) * num_outputs,
            donate_argnums=(0,) if donate else (),
        )

    def replicate(self, tree):
        """Copies a tree to every device."""
        return jax.device_put(tree, self._replicated)

    def deal(self, batch, config):
        """Deals this process's rows of a batch to its devices, without the unused targets."""
        kept = ['frames', 'weight', 'row', *objective.batch_fields(config)]
        batch = {name: batch[name] for name in kept}
        count = self.count // jax.process_count()
        parts = jax.tree.map(lambda a: a.reshape(count, -1, *a.shape[1:]), batch)
        return jax.make_array_from_process_local_data(self._split, parts)
