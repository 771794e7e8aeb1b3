"""Run directories: configuration, journal and kept weights of a search, here or at a URL (`remote`).

For others: `run_directory.RunDirectory`, `journal.open_journal`, `places.opened`.
"""
