"""The light of photos, told apart from the colours of the skin that they share.

A photo k shows a place x of the skin, whose normal is n, in the linear colour

    c_k(x) = a(x) s_k(n),      s_k(n) = sum_j l_kj Y_j(n),

channel by channel: an albedo a that all photos share, and a light of spherical harmonics Y of at
most second order, which hold 98 % of what any distant light does to a matt surface (Ramamoorthi and
Hanrahan, 2001). Both are found by alternating least squares with robust weights: shadows, gloss and
hair are no such thing. a g and s_k / g explain the photos as well as a and s_k. So the albedo is
drawn to one colour, the harmonics but the constant one are drawn to zero, and over the photos the
light is white: the geometric mean of what each photo's light is on average is 1.
"""

import numpy as np

ORDER = 2  # The harmonics that tell light from skin; order 0 tells only how bright photos are.
_ROUNDS = 12
_ANCHOR = 0.3  # Weight of the one colour against that of a photo that shows the place well.
_SPREAD = 0.2  # Relative difference from which what a place shows is hardly believed.
_RIDGE = 0.02  # Weight of the prior towards light from everywhere.
_DARKEST = 0.15  # Least light, as a share of the photo's mean: what is darker is a shadow.
_LEVELS = np.arange(256) / 255
_LINEAR = np.where(_LEVELS <= 0.04045, _LEVELS / 12.92, ((_LEVELS + 0.055) / 1.055) ** 2.4)


def to_linear(colors):
    """Returns linear RGB in [0, 1], float32, of sRGB uint8."""
    return _LINEAR.astype(np.float32)[colors]


def from_linear(colors):
    """Returns sRGB in [0, 255] of linear RGB, where 1 is white."""
    colors = np.clip(colors, 0, 1)
    low = colors <= 0.0031308
    return 255 * np.where(low, 12.92 * colors, 1.055 * colors ** (1 / 2.4) - 0.055)


def harmonics(normals, order=ORDER):
    """Returns real spherical harmonics [..., (order + 1)^2] of unit normals [..., 3].

    They have mean square 1 over the sphere, and the first one is 1.
    """
    x, y, z = np.moveaxis(np.asarray(normals, np.float64), -1, 0)
    first = [np.ones_like(x), *(np.sqrt(3) * np.stack([x, y, z]))]
    second = np.sqrt(15) * np.stack([x * y, y * z, z * x, (x * x - y * y) / 2])
    values = [*first, *second, np.sqrt(5) / 2 * (3 * z * z - 1)]
    return np.stack(values[: (order + 1) ** 2], -1)


def shade(light, normals):
    """Returns the light [..., 3] on normals [..., 3] of the coefficients [J, 3] of a photo."""
    order = round(np.sqrt(len(light))) - 1
    return harmonics(normals, order) @ light


def fit_one(colors, normals, weights, albedo, order=ORDER):
    """Returns the light [J, 3] of one photo of a surface whose albedo is known.

    Args:
        colors: [N, 3] linear RGB.
        normals: [N, 3]; weights: [N] at least 0.
        albedo: [N, 3] linear RGB.
        order: of the harmonics.
    """
    basis = harmonics(normals, order)
    light, trust = None, np.ones(len(colors))
    for _ in range(_ROUNDS):
        light = _solved(basis, colors, weights * trust, albedo)
        trust = _trust(colors, albedo * _bounded(basis @ light, weights))
    return light


def fit(colors, normals, weights, order=ORDER):
    """Tells the photos' lights from the skin's albedo.

    Args:
        colors: [K, N, 3] linear RGB of N places on K photos.
        normals: [K, N, 3] of the places, towards one frame for each photo.
        weights: [K, N] at least 0; 0 where a photo does not show a place.
        order: of the harmonics; 0: only how bright each photo is, in each channel.

    Returns:
        [K, N, 3], the light on each place of each photo, at least _DARKEST of its mean.
    """
    weights = weights / max(weights.max(), 1e-12) + 1e-6  # A photo may show nothing.
    basis = harmonics(normals, order)
    means = np.maximum(_mean(colors, weights), 1e-6)  # [K, 3]
    middle = np.exp(np.log(means).mean(0))
    light = np.broadcast_to((means / middle)[:, None], colors.shape)
    trust = np.ones_like(weights)
    for _ in range(_ROUNDS):
        believed = (weights * trust)[..., None]
        albedo = ((believed * light * colors).sum(0) + _ANCHOR * middle) / (
            (believed * light**2).sum(0) + _ANCHOR
        )
        light = np.stack(
            [
                _bounded(own @ _solved(own, shown, trusted, albedo), weight)
                for own, shown, trusted, weight in zip(
                    basis, colors, weights * trust, weights, strict=True
                )
            ]
        )
        light = light / np.exp(np.log(_mean(light, weights)).mean(0))
        trust = _trust(colors, albedo * light)
    return light


def _solved(basis, colors, weights, albedo):
    """Returns the coefficients [J, 3] of a photo's light by weighted least squares."""
    found = []
    for channel in range(3):
        rows = basis * albedo[:, channel, None]
        normal = (rows * weights[:, None]).T @ rows
        ridge = np.full(len(normal), _RIDGE * normal[0, 0] + 1e-12)
        ridge[0] = 1e-12
        right = (rows * weights[:, None]).T @ colors[:, channel]
        found.append(np.linalg.solve(normal + np.diag(ridge), right))
    return np.stack(found, 1)


def _trust(colors, expected):
    """Returns how far each place shows what is expected, [..., 3] both, [...] in (0, 1]."""
    off = (np.log(colors + 1e-3) - np.log(expected + 1e-3)).mean(-1)
    return 1 / (1 + (off / _SPREAD) ** 2)


def _bounded(light, weights):
    """Returns light [N, 3] that is nowhere darker than _DARKEST of its mean."""
    return np.maximum(light, _DARKEST * np.maximum(_mean(light, weights), 1e-6))


def _mean(values, weights):
    """Returns the mean [..., 3] of values [..., N, 3] by weights [..., N]."""
    total = np.maximum(weights.sum(-1), 1e-12)[..., None]
    return (values * weights[..., None]).sum(-2) / total
