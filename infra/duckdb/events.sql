-- The audit trail, each event once, from a copy of the archive: the folder `audit` where DuckDB runs.
-- The archive can hold an event twice: after export crashed, or when a range was exported again.
CREATE OR REPLACE VIEW events AS
SELECT
  project,
  date,
  unmapped."at" AS "at",
  unmapped.actor AS actor,
  unmapped.run_id AS run_id,
  metadata.event_code AS event_type,
  unmapped.event_id AS event_id,
  unmapped."index" AS place,
  class_uid,
  activity_name,
  severity_id,
  status,
  unmapped.event AS event
FROM read_json(
  'audit/*/*/*.jsonl.gz',
  format = 'newline_delimited',
  hive_partitioning = true,
  hive_types = {'project': VARCHAR, 'date': DATE},
  columns = {
    'time': 'BIGINT',
    'class_uid': 'INTEGER',
    'activity_name': 'VARCHAR',
    'severity_id': 'INTEGER',
    'status': 'VARCHAR',
    'metadata': 'STRUCT(event_code VARCHAR)',
    'unmapped': 'STRUCT(event_id VARCHAR, "index" INTEGER, "at" TIMESTAMPTZ, actor VARCHAR, run_id VARCHAR, event JSON)'
  }
)
QUALIFY row_number() OVER (PARTITION BY project, unmapped.event_id, unmapped."index" ORDER BY time) = 1;
