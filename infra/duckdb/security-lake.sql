-- One class of the archive as Parquet, below `security-lake`, in the folders of a custom source of Security Lake. Security Lake wants a source
-- for each class: copy what comes to `s3://BUCKET/ext/SOURCE/`. Set the variables first:
--   SET VARIABLE class_uid = 6003; SET VARIABLE region = 'eu-west-1'; SET VARIABLE account = '111122223333';
COPY (
  SELECT
    time, class_uid, class_name, category_uid, activity_id, activity_name, type_uid, severity_id, status_id, status, message,
    metadata, actor, "user", entity, app, api, src_endpoint, privileges, "session", resources, finding_info, is_alert,
    -- These are of OCSF 1.9 alone.
    application, delegation, ai_agent, attestation_list,
    -- What has no place in the schema is a map of texts there.
    MAP {
      'event_id': unmapped.event_id, 'index': unmapped."index"::VARCHAR, 'at': unmapped."at", 'project': unmapped.project,
      'actor': unmapped.actor, 'run_id': coalesce(unmapped.run_id, ''), 'containment_id': coalesce(unmapped.containment_id, ''), 'event': unmapped.event::VARCHAR
    } AS unmapped,
    getvariable('region') AS region,
    getvariable('account') AS "accountId",
    strftime(epoch_ms(time), '%Y%m%d') AS "eventDay"
  FROM read_json(
    'audit/*/*/*.jsonl.gz',
    format = 'newline_delimited',
    columns = {
      'time': 'BIGINT', 'class_uid': 'INTEGER', 'class_name': 'VARCHAR', 'category_uid': 'INTEGER', 'activity_id': 'INTEGER',
      'activity_name': 'VARCHAR', 'type_uid': 'BIGINT', 'severity_id': 'INTEGER', 'status_id': 'INTEGER', 'status': 'VARCHAR',
      'message': 'VARCHAR',
      'metadata': 'STRUCT(version VARCHAR, profiles VARCHAR[], uid VARCHAR, event_code VARCHAR, log_name VARCHAR, correlation_uid VARCHAR,
                          tenant_uid VARCHAR, product STRUCT(name VARCHAR, vendor_name VARCHAR))',
      'actor': 'STRUCT("user" STRUCT(uid VARCHAR, "type" VARCHAR, type_id INTEGER))',
      'user': 'STRUCT(uid VARCHAR, "type" VARCHAR, type_id INTEGER)',
      'entity': 'STRUCT(name VARCHAR, "type" VARCHAR, type_id INTEGER)',
      'app': 'STRUCT(name VARCHAR, uid VARCHAR)',
      'api': 'STRUCT(operation VARCHAR, service STRUCT(name VARCHAR))',
      'src_endpoint': 'STRUCT(uid VARCHAR)',
      'privileges': 'VARCHAR[]',
      'session': 'STRUCT(uid VARCHAR)',
      'resources': 'STRUCT(name VARCHAR, "type" VARCHAR)[]',
      'finding_info': 'STRUCT(title VARCHAR, uid VARCHAR)',
      'is_alert': 'BOOLEAN',
      'application': 'STRUCT(name VARCHAR, uid VARCHAR)',
      'delegation': 'STRUCT(uid VARCHAR, parent_uid VARCHAR, issuer_uid VARCHAR, audience VARCHAR, scopes VARCHAR[],
                            created_time BIGINT, expiration_time BIGINT)',
      'ai_agent': 'STRUCT(uid VARCHAR, name VARCHAR, instance_uid VARCHAR, "type" VARCHAR, type_id INTEGER,
                          ai_model STRUCT(name VARCHAR, ai_provider VARCHAR))',
      'attestation_list': 'STRUCT(chain_uid VARCHAR,
        fingerprint STRUCT(algorithm VARCHAR, algorithm_id INTEGER, encoding VARCHAR, encoding_id INTEGER, serialization VARCHAR,
                           serialization_id INTEGER, "value" VARCHAR),
        prev_event STRUCT(uid VARCHAR, type_uid BIGINT,
          fingerprint STRUCT(algorithm VARCHAR, algorithm_id INTEGER, encoding VARCHAR, encoding_id INTEGER, serialization VARCHAR,
                             serialization_id INTEGER, "value" VARCHAR)))[]',
      'unmapped': 'STRUCT(event_id VARCHAR, "index" INTEGER, "at" VARCHAR, project VARCHAR, actor VARCHAR, run_id VARCHAR, containment_id VARCHAR, event JSON)'
    }
  )
  WHERE class_uid = getvariable('class_uid')
  QUALIFY row_number() OVER (PARTITION BY metadata.uid) = 1
  ORDER BY time
) TO 'security-lake' (FORMAT parquet, COMPRESSION zstd, PARTITION_BY (region, "accountId", "eventDay"));
