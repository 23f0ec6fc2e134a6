"""
The numbers that an operator sees: counters, gauges and histograms in memory that workers share.

Each worker writes to its own part of the memory, and whichever of them is read sums all parts. The
series of every metric are fixed before the first request: they are operations, statuses and codes,
and never names of tenants or users. So the memory has a fixed size, and recording a request costs
some additions. docs/monitoring.md lists the metrics.
"""
