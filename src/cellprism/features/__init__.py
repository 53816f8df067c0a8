"""What is known about each feature of a dictionary."""
