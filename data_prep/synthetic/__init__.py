"""The embedded parametric face: shape, expressions, looks, photos and simulated raw scans."""
