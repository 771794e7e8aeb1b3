"""Many trainings of given necks beside each other: is the proxy true, is a cheaper one, what is best in the end?"""
