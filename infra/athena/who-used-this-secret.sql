-- Who used this secret: each release to a claim, and each time that a sandbox held it in plaintext.
SELECT at, actor, run_id, event_type,
  json_extract_scalar(event, '$.step_id') AS step_id,
  json_extract_scalar(event, '$.fence') AS fence
FROM sealfleet_audit.events
WHERE project = 'healthcare'
  AND date BETWEEN '2026-01-01' AND '2026-01-31'
  AND (
    (event_type = 'secret.decrypted' AND json_extract_scalar(event, '$.key') = 'CRM_TOKEN')
    OR (event_type = 'secret.released'
      AND any_match(CAST(json_extract(event, '$.secrets') AS ARRAY(JSON)),
                    secret -> json_extract_scalar(secret, '$.name') = 'CRM_TOKEN'))
  )
ORDER BY at
