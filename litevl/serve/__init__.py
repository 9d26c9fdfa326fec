"""A page to drop videos in and search them by text: `litevl serve`."""
