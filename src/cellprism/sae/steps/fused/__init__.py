"""Whole epochs of relu in few dimensions."""
