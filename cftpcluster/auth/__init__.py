"""Who may log in, and as whom.

The one way in for every protocol: a server hands a credential of :mod:`~cftpcluster.auth.credentials` to its portal
(:mod:`~cftpcluster.auth.portal`), which asks the checkers and then the realm. Nothing here knows a protocol.
"""
