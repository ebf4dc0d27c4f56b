"""Beside setup.cfg: the configs of experiments/ come with the package."""

from setuptools import find_packages, setup

setup(
  packages=[*find_packages(include=['fps_jax*']), 'fps_jax_experiments'],
  package_dir={'fps_jax_experiments': 'experiments'},
)
