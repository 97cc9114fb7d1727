"""Faults that are really injected into real processes: networks, disks, signals and clocks.

Short variants run with the integration tests; with ``CFTPCLUSTER_ENDURANCE=true`` they last as long as the faults of
``docs/faults.md`` say.
"""
