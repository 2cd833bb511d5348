"""Speed and memory of Swath against its peers, each pair in one run, with equal results checked first."""
