"""Keeps the nodes of a cluster together: who is a member, what seals the secrets, and every node's equal journal."""
