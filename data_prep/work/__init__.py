"""Work files, and the processes that make them."""
