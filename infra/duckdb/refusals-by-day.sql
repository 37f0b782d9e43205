-- Refusals and unexplained reads of secrets, by day.
SELECT project, date, event_type, actor, count(*) AS times
FROM events
WHERE date BETWEEN '2026-01-01' AND '2026-01-31'
  AND event_type IN ('run.denied', 'claim.refused', 'report.refused', 'secret.read_unexplained')
GROUP BY ALL
ORDER BY date DESC, times DESC;
