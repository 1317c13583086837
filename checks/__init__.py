"""Whether it is good: functions that take plain values and return a verdict."""
