"""From the state of the filter to what a person gets: meshes, tables, pictures, a page."""
