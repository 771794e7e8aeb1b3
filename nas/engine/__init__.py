"""Engine: who runs what, and when.

`run.run_search` runs a search to its end. `scheduler` says which trial is next and what becomes of it, `worker` and
`trial` run one in a process of its own, `trial_server` answers for rungs and checkpoints, `rerun` trains a recorded
trial again.
"""
