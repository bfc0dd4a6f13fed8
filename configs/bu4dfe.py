"""The flagship for a GPU: the network of cpu.py, longer and on larger batches; scored on BU-4DFE.

It learns from made-up people only, as cpu.py does, whose pictures must be drawn first. BU-4DFE's
records are what `run_eval.py --workdir=runs/bu4dfe` scores it on. No figure in docs/ is of a run
of it: the packaged run is one of cpu.py.
"""

from configs import cpu


def get_config():
    """Returns the options of cpu.py for one GPU."""
    config = cpu.get_config()

    config.data.batch_size = 256
    config.train.num_steps = 50_000

    config.eval.data_dir = 'data'
    config.eval.data_name = 'bu4dfe'
    return config
