-- Who used this secret: each release to a claim, and each time that a sandbox held it in plaintext.
SELECT "at", actor, run_id, event_type, event ->> '$.step_id' AS step_id, event ->> '$.fence' AS fence
FROM events
WHERE project = 'healthcare'
  AND (
    (event_type = 'secret.decrypted' AND (event ->> '$.key') = 'CRM_TOKEN')
    OR (event_type = 'secret.released' AND list_contains(event ->> '$.secrets[*].name', 'CRM_TOKEN'))
  )
ORDER BY "at";
