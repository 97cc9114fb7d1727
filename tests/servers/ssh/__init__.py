"""Tests of file transfer over SSH."""
