"""What is measured: each module is one workload, and describes itself to ``harness``."""
