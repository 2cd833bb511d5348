"""The demo: the main job on included imagery, with a report to look at."""
