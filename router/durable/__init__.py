"""What survives a crash.

All states of one instance on disk. ``part`` is the file while it arrives, ``payload`` the same file under its final
name, ``row`` its line in the queue with one delivery per destination; + means that it exists::

    S1  -part -payload -row                 nothing, or finished with
    S2  +part -payload -row                 arriving, or arrived and not answered for
    S3  -part +payload -row                 durable, not yet answered for
    S4  -part +payload +row, some open      answered for, being delivered
    S5  -part +payload +row, some kept      kept for an operator: no route took it, refused, or given up
    S6  -part +payload +row, all settled    delivered, dropped, or dead without a claim: the payload may go
    S7  -part -payload +row, all settled    the row may go: S1
    S8  -part -payload +row, some open      payload lost (a disk's doing): dead letter and alarm

A dead letter has a claim on the payload, unless a ``best_effort`` destination over its quota gave the claim up. Having
it sent again takes the claim back (S6 → S4), while the payload is not being removed.

Guarantee: C-STORE status 0000H is sent only in S4 or S5.
Guarantee: no payload is removed in S4 or S5.

Accept   S1 → S2  create, write, digest, fsync                    ``spool.Part``
         S2 → S3  rename, fsync the directory                     ``spool.Spool.publish``
         S3 → S4  one FULL commit, then the answer                ``sqlite.SqliteQueue.accept``
Settle   S4 → S6  one commit; NORMAL is enough: it frees nothing, its loss costs a duplicate
Remove   S6 → S7  a FULL commit that says settled, unlink, fsync the directories
         S7 → S1  only then the rows go
Lost     a queue that is missing or damaged leaves all payloads in S3. They are adopted by the routes, less what the
         history says: what an operator or a rule keeps back is in it, FULL, before the queue says so.
Crash    S2 is swept. S3 is adopted: the file says who sent it, so routing runs again.
         In S4 what was in flight is queued again.
"""
