"""What `litevl validate` finds out of a folder of videos and annotations, before anyone trains on it."""
