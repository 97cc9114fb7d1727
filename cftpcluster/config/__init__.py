"""What a configuration is: pure values, and what turns one into the next.

Nothing here knows Twisted, a disk or a network: equal changes make equal documents on every node.
"""
