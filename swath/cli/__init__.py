"""The command line: a verb a job; `main` shows every failure as one sentence and exits with status 2."""
