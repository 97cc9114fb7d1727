"""The ordered, hash-chained changes of one cluster, and the document they make.

:mod:`.entry` has the values; :class:`.memory.MemoryJournal` and :class:`.sqlite.SQLiteJournal` keep them. Who may
append, and who is told, is not known here.
"""
