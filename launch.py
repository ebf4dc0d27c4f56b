"""Runs a config's job: python launch.py --config=experiments/NAME.py."""

from fps_jax.__main__ import main

if __name__ == '__main__':
  main()
