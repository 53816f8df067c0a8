"""How good a dictionary is, beside what others would use and what learned nothing."""
