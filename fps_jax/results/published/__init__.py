"""Published results: rows of the repository, and the tables made of them.

`rows` keeps one row a run of a study in `experiments/results/NAME.csv`, `lines`
one a line of what a benchmark reports, and `tables` makes of these what
`experiments/README.md` shows between marks. The commands, from a clone of the
repository:

  python -m fps_jax.results.published add RUN_FOLDER --name=NAME
  python -m fps_jax.results.published write
"""
