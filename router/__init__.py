"""dicom-router: a store-and-forward router for DICOM objects.

The path of one instance, and where to read it:

1. A modality associates with one of our AE titles           ``dicom/scp.py`` over ``protocol/``
2. ``flow.intake.receive`` writes what arrives to the spool   ``dicom/part10.py``, ``durable/spool.py``
3. ``flow.intake.admit`` asks the routes and commits          ``rules/routing.py``, ``durable/sqlite.py``
4. Only now C-STORE-RSP 0000H is sent. The disk is the only hand-over.
5. ``flow.forwarder`` claims what is due for its destination  ``durable/queue.py``
6. ``flow.attempt`` negotiates, sends, falls back             ``rules/negotiation.py``, ``dicom/scu.py``
7. ``rules.retry`` decides what the answer means, and the queue settles it
8. ``flow.janitor`` removes what every destination has        ``durable/__init__.py``: the states on disk

Five folders, five questions: ``flow`` who moves an instance, ``dicom`` the edge, ``durable`` what survives
a crash, ``rules`` what should happen, ``model`` what things are.
"""

__version__ = "0.1.0"
