"""Maps, meshes and voxels of a face, and how they are aligned, read and drawn."""
