"""The pictures of an evaluation: loss curves, error over frames, predictions beside the truth.

As the thesis's figures 22, 24 and 25, but with shaded surfaces instead of points.
"""

import os

import numpy as np
from matplotlib import figure

from seqface_jax import files
from seqface_jax.checkpoints import metrics_writer
from seqface_jax.evaluation import calibration, metrics
from seqface_jax.geometry import rendering
from seqface_jax.photos import own_files

_VIEWS_RAD = (0.0, np.radians(40))  # From the front and from the subject's left.
_RENDER_SIZE = 320
_MAX_FRAMES = 8


def write(folder, rows, ced, shown, workdirs):
    """Writes all figures of an evaluation as PNG files.

    Args:
        folder: made if missing.
        rows: of results.json.
        ced: what tables.ced_rows returned.
        shown: list of split_evaluation.Shown.
        workdirs: the runs; each metrics.csv gives a loss curve.
    """
    os.makedirs(folder, exist_ok=True)
    for workdir in workdirs:
        rows_of_run = metrics_writer.read(os.path.join(workdir, 'metrics.csv'))
        name = os.path.basename(os.path.normpath(workdir))
        if rows_of_run:
            save(loss_curve(rows_of_run, name), os.path.join(folder, f'loss_{name}.png'))
    for metric in ('vertex_mm', 'scan_to_mesh_mm'):
        if any(row[metric] is not None and row['num_frames'] for row in rows):
            path = os.path.join(folder, f'frames_{metric}.png')
            save(error_curve(rows, metric), path)
    save(ced_curve(ced), os.path.join(folder, 'ced.png'))
    if any(row['coverage_90'] is not None for row in rows):
        save(calibration_curve(rows), os.path.join(folder, 'calibration.png'))
    for own in shown:
        picture = predictions(own.subjects, own.frames, own.answers)
        save(picture, os.path.join(folder, f'predictions_{own.split}.png'))


def loss_curve(rows, title):
    """Draws the mean training and validation losses, over epochs, or steps where there are none.

    Args:
        rows: of metrics.csv; those of kind 'training' and 'validation' are drawn.
        title: str.

    Returns:
        A matplotlib Figure.
    """
    picture, axes = _axes((6, 4))
    rows = [row for row in rows if row['kind'] in ('training', 'validation') and row.get('loss')]
    unit = 'epoch' if all(row.get('epoch') for row in rows) else 'step'
    for kind in ('training', 'validation'):
        own = [row for row in rows if row['kind'] == kind]
        places = [int(row[unit]) for row in own]
        axes.plot(places, [float(row['loss']) for row in own], label=kind, marker='.')
    axes.set(xlabel=unit, ylabel='loss', title=title, yscale='log')
    _legend_below(picture, [(axes, None)])
    return picture


def error_curve(rows, metric):
    """Draws a metric in mm over the number of frames, with its 95 % band; baselines are level.

    Args:
        rows: of results.json.
        metric: 'vertex_mm' or 'scan_to_mesh_mm' (its mean).

    Returns:
        A matplotlib Figure with one panel per split.
    """
    picture, panels = _panel_per_split(rows)
    for axes, split in panels:
        own = [row for row in rows if row['split'] == split and row[metric] is not None]
        for label in dict.fromkeys(map(_label, own)):
            series = [row for row in own if _label(row) == label]
            _draw_series(axes, series, metric, label)
        _frames_axis(axes, own)
    panels[0][0].set_ylabel(f'{metric.removesuffix("_mm").replace("_", " ")}, mm')
    _legend_below(picture, panels)
    return picture


def ced_curve(ced):
    """Draws the share of scan points that near to the answer, each model at its most frames.

    Args:
        ced: what tables.ced_rows returned.

    Returns:
        A matplotlib Figure with one panel per split.
    """
    picture, panels = _panel_per_split(ced)
    for axes, split in panels:
        last = {_label(row): row for row in ced if row['split'] == split}
        for label, row in last.items():
            shares = [row[f'{limit:.1f}'] for limit in metrics.CED_MM]
            after = f', {row["num_frames"]} frames' if row['num_frames'] else ''
            style = '-' if row['num_frames'] else '--'
            (line,) = axes.plot(metrics.CED_MM, shares, style, linewidth=1.2)
            line.set_label(f'{label}{after}: {row["ced_auc"]:.3f}')
        axes.set(xlabel='scan to mesh, mm', xlim=(0, 5), ylim=(0, 1), title=split)
        axes.legend(
            fontsize=6,
            title='area',
            title_fontsize=7,
            loc='upper left',
            bbox_to_anchor=(0, -0.14),  # Below the curves, not on them.
        )
    panels[0][0].set_ylabel('share of scan points')
    return picture


def calibration_curve(rows):
    """Draws what the networks say of their errors, over the number of frames.

    Args:
        rows: of results.json.

    Returns:
        A matplotlib Figure: on top the share inside the stated 90 % band; below the stated
        standard deviation (dashed) and the true one.
    """
    splits = list(dict.fromkeys(row['split'] for row in rows))
    picture = figure.Figure(figsize=(5 * len(splits), 6.5), layout='constrained')
    panels = picture.subplots(2, len(splits), squeeze=False, sharey='row')
    for place, split in enumerate(splits):
        own = [row for row in rows if row['split'] == split and row['coverage_90'] is not None]
        above, below = panels[:, place]
        above.axhline(calibration.BAND, color='black', linewidth=0.8)
        above.axhspan(0.85, 0.95, color='black', alpha=0.08)
        for label in dict.fromkeys(map(_label, own)):
            series = [row for row in own if _label(row) == label]
            counts = [row['num_frames'] for row in series]
            (line,) = above.plot(
                counts, [row['coverage_90'] for row in series], marker='.', label=label
            )
            for name, style in (('sigma_mm', '--'), ('coordinate_rms_mm', '-')):
                values = [row[name] for row in series]
                below.plot(counts, values, style, marker='.', color=line.get_color())
        for axes in (above, below):
            _frames_axis(axes, own)
        above.set_title(split)
    panels[0, 0].set(ylabel='inside the stated 90 % band', ylim=(0, 1))
    panels[1, 0].set_ylabel('sigma, mm: stated --, true -')
    _legend_below(picture, [(axes, None) for axes in panels[0]])
    return picture


def predictions(subjects, frames, answers):
    """Draws, per subject, the input frames and below them the predictions and the scan.

    Args:
        subjects: scoring.Subjects.
        frames: list of uint8 [T, H, W, 3], of the first subjects.
        answers: list of streaming.Answers.

    Returns:
        A matplotlib Figure.
    """
    count = len(frames)
    heights = [1.0, 3.2] * count
    picture = figure.Figure(figsize=(13, 5.4 * count), layout='constrained')
    grid = picture.add_gridspec(2 * count, 1, height_ratios=heights)
    for place, own in enumerate(frames):
        top = picture.add_subfigure(grid[2 * place])
        top.suptitle(f'subject {subjects.ids[place]}: input frames', fontsize=9)
        _draw_images(top, list(own[:_MAX_FRAMES]), [''] * _MAX_FRAMES, _MAX_FRAMES)
        images, titles = [], []
        for answer in answers:
            own = answer.of(place)
            images.append(views(own.vertices, own.triangles))
            condition = answer.condition
            after = f', {condition.num_frames} frames' if condition.num_frames else ''
            titles.append('\n'.join(filter(None, [condition.model, condition.checkpoint])) + after)
        scan = subjects.scans[place]
        images.append(views(scan.vertices, scan.triangles))
        titles.append('scan')
        bottom = picture.add_subfigure(grid[2 * place + 1])
        _draw_images(bottom, images, titles, max(4, len(images)))
    return picture


def views(vertices, triangles):
    """Returns the face seen from the front, and below that from three quarters."""
    images = [
        rendering.render(vertices, triangles, azimuth_rad=view, size=_RENDER_SIZE)
        for view in _VIEWS_RAD
    ]
    return np.concatenate(images, axis=0)


def save(picture, path):
    """Writes a Figure as PNG, whole or not at all."""
    options = {'format': 'png', 'dpi': 110, 'metadata': {'Software': own_files.SOFTWARE}}
    files.write_atomically(path, lambda file: picture.savefig(file, **options))


def _panel_per_split(rows):
    """Returns a Figure and [(axes, split)]."""
    splits = list(dict.fromkeys(row['split'] for row in rows))
    picture = figure.Figure(figsize=(5 * len(splits), 4.2), layout='constrained')
    panels = picture.subplots(1, len(splits), squeeze=False, sharey=True)[0]
    for axes, split in zip(panels, splits, strict=True):
        axes.set_title(split)
        axes.grid(alpha=0.3)
    return picture, list(zip(panels, splits, strict=True))


def _legend_below(picture, panels):
    """Adds one legend of all panels' lines below them, not on the curves."""
    handles = {}
    for axes, _ in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    if handles:
        options = {'loc': 'outside lower center', 'fontsize': 7}
        for columns in range(max(1, 2 * len(panels)), 0, -1):
            legend = picture.legend(handles.values(), handles, ncols=columns, **options)
            if columns == 1 or legend.get_window_extent().width <= picture.bbox.width:
                return
            legend.remove()


def _frames_axis(axes, rows):
    counts = sorted({row['num_frames'] for row in rows if row['num_frames']})
    axes.set(xlabel='frames', xscale='log')
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.minorticks_off()
    axes.grid(alpha=0.3)


def _axes(size):
    picture = figure.Figure(figsize=size, layout='constrained')
    axes = picture.subplots()
    axes.grid(alpha=0.3)
    return picture, axes


def _label(row):
    return ' '.join(filter(None, [row['model'], row['of'], row['checkpoint']]))


def _draw_series(axes, series, metric, label):
    def value(row):
        return row[metric]['mean'] if isinstance(row[metric], dict) else row[metric]

    if series[0]['num_frames'] is None:
        line = axes.axhline(value(series[0]), linestyle='--', linewidth=1, label=label)
        line.set_color({'mean_face': 'black'}.get(label, 'gray'))
        return
    frames = [row['num_frames'] for row in series]
    (line,) = axes.plot(frames, [value(row) for row in series], marker='.', label=label)
    bands = [row['intervals'][metric] or (value(row),) * 2 for row in series]
    axes.fill_between(frames, *zip(*bands, strict=True), color=line.get_color(), alpha=0.12)


def _draw_images(parent, images, titles, columns):
    panels = parent.subplots(1, columns, squeeze=False)[0]
    for axes in panels:
        axes.set_axis_off()
    for axes, image, title in zip(panels, images, titles, strict=False):
        axes.imshow(image)
        axes.set_title(title, fontsize=8)
