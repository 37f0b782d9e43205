-- Everything that a run did.
SELECT at, actor, event_type, status, event
FROM sealfleet_audit.events
WHERE project = 'healthcare'
  AND date BETWEEN '2026-01-30' AND '2026-01-31'
  AND run_id = 'run_019c1310-e400-7000-8000-000000000002'
ORDER BY at, event_id, place
