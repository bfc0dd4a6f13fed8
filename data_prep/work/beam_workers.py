"""Workers of Apache Beam: tasks run wherever a Beam runner runs them, on this machine or a cluster.

Every worker needs this package, and the raw data and the work files under the same paths (NFS and
the like): a task leaves its result in its work file, and the records are written from those by the
process that started it all. They are the same whoever does the work.

On every machine of a Flink or Spark cluster, in an environment with `pip install -e '.[beam]'`:

    python -m apache_beam.runners.worker.worker_pool_main --service_port=50000

and then, on one of them, in one line:

    python -m data_prep bu4dfe --raw_dir=/shared/RAW --data_dir=/shared/data
        --beam_pipeline_options=runner=FlinkRunner,flink_master=HOST:8081,
            environment_type=EXTERNAL,environment_config=localhost:50000

Dataflow's machines share no disk, so it is not for this. On one machine, two processes:
runner=FnApiRunner,direct_running_mode=multi_processing,direct_num_workers=2.
"""

import functools
import importlib.util
import itertools
import logging as python_logging
import threading

import cv2
from absl import logging

from data_prep.work import work_files, worker_pool
from seqface_jax.errors import UserError

_BLOCK = 512  # Tasks of one pipeline, all of which travel inside its description.
_POLL_S = 0.5
_QUIET = '--default_sdk_harness_log_level=WARNING'


class BeamWorkers(worker_pool.Workers):
    """As Workers, with `run` on Beam; `map`, which needs all scans at once, stays here.

    Attributes:
        num_workers: processes of `map`, and of tasks that Beam has failed at.
    """

    def __init__(self, options, num_workers):
        """Checks the options.

        Args:
            options: 'name=value,name=value' of Beam's PipelineOptions, as TFDS takes them.
            num_workers: int.

        Raises:
            UserError: Apache Beam is not installed, or the options cannot be read.
        """
        super().__init__(num_workers)
        if importlib.util.find_spec('apache_beam') is None:
            raise UserError("Apache Beam is not installed: pip install -e '.[beam]'")
        self._options = _read(options)

    def run(self, function, tasks):
        """As Workers.run, for tasks with the `path` and the `key` of the work file they write.

        What a failed pipeline leaves undone is done here, where a task that kills its process
        takes no other with it.
        """
        tasks = iter(tasks)
        while block := list(itertools.islice(tasks, _BLOCK)):
            yield from self._run_block(function, block)

    def _run_block(self, function, tasks):
        failures = []
        pipeline = threading.Thread(
            target=_run_pipeline, args=(self._options, function, tasks, failures), daemon=True
        )
        pipeline.start()
        left = tasks
        while pipeline.is_alive():
            pipeline.join(_POLL_S)
            done, left = _divide(left)
            for task in done:
                yield task, None, None
        if failures:
            logging.warning('Apache Beam failed (%s); what it left goes on here', failures[0])
        done, left = _divide(left)
        for task in done:
            yield task, None, None
        yield from super().run(function, left)


def _read(options):
    """Turns 'a=1,b=2' into ['--a=1', '--b=2']."""
    options = [option.strip() for option in options.split(',') if option.strip()]
    if not options:
        raise UserError(
            '--beam_pipeline_options is empty; name a runner, such as runner=FlinkRunner,'
            'flink_master=localhost:8081'
        )
    return [f'--{option.removeprefix("--")}' for option in options]


def _divide(tasks):
    """Returns the tasks that are done, and the others."""
    done = [work_files.is_valid(task.path, task.key) for task in tasks]
    return (
        [task for task, is_done in zip(tasks, done, strict=True) if is_done],
        [task for task, is_done in zip(tasks, done, strict=True) if not is_done],
    )


def _do(function, task):
    """Does a task in a worker's process, of which there is one per core."""
    cv2.setNumThreads(1)
    return function(task)


def _run_pipeline(options, function, tasks, failures):
    """Runs all tasks; a fault goes to `failures`."""
    import apache_beam
    from apache_beam.options.pipeline_options import PipelineOptions

    python_logging.getLogger('apache_beam').setLevel(python_logging.WARNING)
    try:
        with apache_beam.Pipeline(options=PipelineOptions([_QUIET, *options])) as pipeline:
            _ = (
                pipeline
                | apache_beam.Create(tasks)
                | apache_beam.Reshuffle()  # Else one worker takes them all.
                | apache_beam.Map(functools.partial(_do, function))
            )
    except Exception as error:  # noqa: BLE001 - whatever a runner says, the work goes on without it.
        failures.append(str(error).strip().splitlines()[-1] if str(error) else repr(error))
