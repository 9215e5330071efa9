"""jitnet beside PyTorch, JAX and scikit-learn: `python -m benchmarks.peers` from the repository root prints the table.

Needs the extra `peers`. What is alike for all: data, start, dtype, the batches of each step (drawn by the same NumPy
call inside the timed run), optimiser and settings, cores. What is compared after every timed run: the losses of all
steps and the parameters; a peer that did other work ends the run with an error. `cases.py` has the networks and the
count of operations, `contest.py` the turns and the judge, `with_*.py` a peer each, `child.py` how threads are pinned.
"""
