"""From rollups and samples to a wearer's days: pure functions over numpy arrays, many patients' days at a time.

Conventions of the package. Times are int64 microseconds UTC, days int64 counts of days since 1970-01-01 in the wearer's
own calendar, offsets int64 microseconds that local time is ahead of UTC. `group` is a dense number, 0 to n - 1, of what
belongs together (a patient's day, a night, a series): functions work on all groups at once. A measure that cannot be
told is NaN, which becomes NULL: what was not worn is unknown, never zero.
"""
