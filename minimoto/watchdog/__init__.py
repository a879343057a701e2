"""The watchdog: one pass looks at the fleet and the queue, decides (:mod:`minimoto.core.fleet`), acts and repairs.

observe.py   what is there: machines, heartbeats, counts, CPU, jobs
act.py       carries a decision out, so that a crash at any line or a second watchdog doubles nothing
repair.py    jobs that nobody would move otherwise: dead nodes' leases, dead messages, lost ones, abandoned uploads
patrol.py    one pass, from its lease to its record; and the loop
report.py    what is shown of it: --status, --explain, JSON
watch.py     --watch
"""
