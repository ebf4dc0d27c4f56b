"""Tests: a folder for each of those of fps_jax, and `helpers`."""
