"""Who moves an instance: in (``intake``), out (``forwarder``, ``attempt``), and away (``janitor``)."""
