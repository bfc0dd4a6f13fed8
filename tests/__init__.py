import os

# Each of pytest's workers has a core, on which more threads of OpenBLAS would only wait for each
# other; NumPy reads this when it is imported.
os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')
