-- One class and one day of a project as Parquet, in the folders of a custom source of Security Lake, which wants a source for each class. Athena
-- writes it (`UNLOAD`), to a folder that is still empty: your own bucket, or that of Security Lake if its role for the source lets you.
UNLOAD (
  SELECT
    time, class_uid, class_name, category_uid, activity_id, activity_name, type_uid, severity_id, status_id, status, message,
    metadata, actor, "user", entity, app, api, src_endpoint, privileges, session, resources, finding_info, is_alert,
    -- These are of OCSF 1.9 alone.
    application, delegation, ai_agent, attestation_list,
    -- What has no place in the schema is a map of texts there.
    map(
      ARRAY['event_id', 'index', 'at', 'project', 'actor', 'run_id', 'containment_id', 'event'],
      ARRAY[
        unmapped.event_id, CAST(unmapped.index AS VARCHAR), unmapped."at", unmapped.project, unmapped.actor,
        coalesce(unmapped.run_id, ''), coalesce(unmapped.containment_id, ''), unmapped.event
      ]
    ) AS unmapped
  FROM (
    SELECT *, row_number() OVER (PARTITION BY metadata.uid ORDER BY time) AS copy
    FROM sealfleet_audit.exported
    WHERE project = 'healthcare' AND date = '2026-01-31' AND class_uid = 6003
  )
  WHERE copy = 1
)
TO 's3://BUCKET/ext/SOURCE/region=eu-west-1/accountId=111122223333/eventDay=20260131/'
WITH (format = 'PARQUET', compression = 'ZSTD')
