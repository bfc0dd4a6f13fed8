"""3D faces in millimetres from any number of frames of one person."""

__version__ = '0.1.0'
