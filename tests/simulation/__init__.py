"""A whole cluster under a simulated clock, network and disk, where a seed decides everything that happens.

``python -m tests.simulation --seed N --trace`` replays a schedule and tells what happened in it.
"""
