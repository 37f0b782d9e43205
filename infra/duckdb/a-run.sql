-- Everything that a run did.
SELECT "at", actor, event_type, status, event
FROM events
WHERE run_id = 'run_019c1310-e400-7000-8000-000000000002'
ORDER BY "at", event_id, place;
