"""Definition of a search: configuration, records of trials, reward, constraints, stopping, confirmation, inheritance.

Nothing here runs anything or touches a file.
"""
