"""What SAEs are held against, a function a method: a task and a seed in, codes of the held-out cells out."""
