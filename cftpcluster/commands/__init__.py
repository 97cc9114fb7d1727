"""The verbs of ``cftpctl``: what they take, what they ask of a node's REST API, and what they print.

They know the API and nothing of what is behind it.
"""
