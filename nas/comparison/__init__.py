"""Comparison of necks and of proxy tasks by trainings on all workers, each kept in a file so that none is done twice.

For others: `run_all.run_all`, `TrainingJob`, `ResultStore`.
"""
