"""What serves clients: one package for each protocol, and beside them what all of them share.

No server package imports another.
"""
