"""MagNet: localisation nets that learn where to magnify, and the classifier of what they found."""
