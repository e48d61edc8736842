"""VERBS: slide + model -> result."""
