"""THE ONLY ROOM THAT KNOWS napari AND Qt: one panel per task, threads in job.py alone."""
