"""Workers: a pool of Ray actors for any payload, their placement on machines, and Ray itself for the time of a run.

For others: `pool.Pool`, `pool.make_workers`, `answers`, `guarded.guarded`, `ray_session.connected`.
"""
