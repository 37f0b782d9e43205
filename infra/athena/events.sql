-- The audit trail, each event once. The archive can hold an event twice: after export crashed, or when a range was exported again.
CREATE OR REPLACE VIEW sealfleet_audit.events AS
SELECT project, date, at, actor, run_id, event_type, event_id, place, class_uid, activity_name, severity_id, status, event
FROM (
  SELECT
    project,
    date,
    from_iso8601_timestamp(unmapped.at) AS at,
    unmapped.actor AS actor,
    unmapped.run_id AS run_id,
    metadata.event_code AS event_type,
    unmapped.event_id AS event_id,
    unmapped.index AS place,
    class_uid,
    activity_name,
    severity_id,
    status,
    unmapped.event AS event,
    row_number() OVER (PARTITION BY project, unmapped.event_id, unmapped.index ORDER BY time) AS copy
  FROM sealfleet_audit.exported
)
WHERE copy = 1
