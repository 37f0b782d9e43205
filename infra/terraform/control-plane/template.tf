# The parameters and outputs of infra/sam/template.yaml, written by infra/terraform/check.py --write.

variable "name_prefix" {
  type        = string
  description = "What all names of this installation begin with. Each installation in an account needs its own, also in another region: names of IAM roles are the account's. It cannot be changed later."
  default     = null
  validation {
    condition     = var.name_prefix == null ? true : can(regex("^[a-z][a-z0-9]*$", var.name_prefix))
    error_message = "name_prefix: lower-case letters and digits, starting with a letter."
  }
  validation {
    condition     = var.name_prefix == null ? true : length(var.name_prefix) <= 16
    error_message = "name_prefix: at most 16 characters."
  }
}

variable "permissions_boundary_arn" {
  type        = string
  description = "Permissions boundary of every role of this stack. Empty sets none."
  default     = null
  validation {
    condition     = var.permissions_boundary_arn == null ? true : can(regex("^(arn:[a-z-]+:iam::([0-9]{12}|aws):policy/.+)?$", var.permissions_boundary_arn))
    error_message = "permissions_boundary_arn: the ARN of a managed policy."
  }
}

variable "lease_seconds" {
  type        = number
  description = "Seconds without a heartbeat after which a worker kills its sandbox. The control plane gives the step to another after at most four times that."
  default     = null
  validation {
    condition     = var.lease_seconds == null ? true : var.lease_seconds >= 2
    error_message = "lease_seconds: at least 2."
  }
  validation {
    condition     = var.lease_seconds == null ? true : var.lease_seconds <= 3600
    error_message = "lease_seconds: at most 3600."
  }
}

variable "resend_seconds" {
  type        = number
  description = "Seconds after which sweep sends a queued step's message again."
  default     = null
  validation {
    condition     = var.resend_seconds == null ? true : var.resend_seconds >= 1
    error_message = "resend_seconds: at least 1."
  }
  validation {
    condition     = var.resend_seconds == null ? true : var.resend_seconds <= 3600
    error_message = "resend_seconds: at most 3600."
  }
}

variable "secret_version_seconds" {
  type        = number
  description = "Seconds for which enqueue and dispatch use what Secrets Manager said of a secret's current version. A rotation may be seen that much later. 0 asks each time."
  default     = null
  validation {
    condition     = var.secret_version_seconds == null ? true : var.secret_version_seconds >= 0
    error_message = "secret_version_seconds: at least 0."
  }
  validation {
    condition     = var.secret_version_seconds == null ? true : var.secret_version_seconds <= 300
    error_message = "secret_version_seconds: at most 300."
  }
}

variable "system_log_level" {
  type        = string
  description = "What Lambda itself logs of each invocation. INFO adds its start and a report with times and memory, for about $0.30 a million invocations. The functions' own lines do not depend on it."
  default     = null
  validation {
    condition     = var.system_log_level == null ? true : contains(["DEBUG", "INFO", "WARN"], var.system_log_level)
    error_message = "system_log_level: one of DEBUG, INFO, WARN."
  }
}

variable "log_retention_days" {
  type        = number
  description = "Days to keep the control plane's logs."
  default     = null
  validation {
    condition     = var.log_retention_days == null ? true : contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1827, 3653], var.log_retention_days)
    error_message = "log_retention_days: one of 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1827, 3653."
  }
}

variable "run_retention_days" {
  type        = number
  description = "Days for which the ledger keeps a run after its end."
  default     = null
  validation {
    condition     = var.run_retention_days == null ? true : var.run_retention_days >= 1
    error_message = "run_retention_days: at least 1."
  }
  validation {
    condition     = var.run_retention_days == null ? true : var.run_retention_days <= 3650
    error_message = "run_retention_days: at most 3650."
  }
}

variable "prices" {
  type        = string
  description = "Your own prices as JSON, which go before the list prices that usage is charged by. See docs/guides/usage.md. Empty: list prices."
  default     = null
  validation {
    condition     = var.prices == null ? true : length(var.prices) <= 1500
    error_message = "prices: at most 1500 characters."
  }
}

variable "trail_retention_days" {
  type        = number
  description = "Days for which an entry stays in the audit table. The archive keeps it for AuditExpireDays. At least 15, because what could not be exported waits 14 days for somebody to export it again."
  default     = null
  validation {
    condition     = var.trail_retention_days == null ? true : var.trail_retention_days >= 15
    error_message = "trail_retention_days: at least 15."
  }
  validation {
    condition     = var.trail_retention_days == null ? true : var.trail_retention_days <= 3650
    error_message = "trail_retention_days: at most 3650."
  }
}

variable "output_retention_days" {
  type        = number
  description = "Days for which the outputs bucket keeps what comes out of steps, and uploads."
  default     = null
  validation {
    condition     = var.output_retention_days == null ? true : var.output_retention_days >= 1
    error_message = "output_retention_days: at least 1."
  }
  validation {
    condition     = var.output_retention_days == null ? true : var.output_retention_days <= 3650
    error_message = "output_retention_days: at most 3650."
  }
}

variable "subnets" {
  type        = list(string)
  description = "Private subnets of your own VPC in which Fargate sandboxes run; they must reach this stack's HTTP API, ECR, CloudWatch Logs, S3 and Secrets Manager on port 443. Empty creates a VPC for sandboxes that reaches nothing else."
  default     = null
}

variable "security_groups" {
  type        = list(string)
  description = "Security groups of Fargate sandboxes in your own subnets. They decide what a sandbox can reach."
  default     = null
}

variable "vpc_cidr" {
  type        = string
  description = "Addresses of the VPC created for sandboxes. Nothing routes to it from outside."
  default     = null
  validation {
    condition     = var.vpc_cidr == null ? true : can(regex("^[0-9]{1,3}(\\.[0-9]{1,3}){3}/(1[6-9]|20)$", var.vpc_cidr))
    error_message = "vpc_cidr: an IPv4 range of /16 to /20."
  }
}

variable "zone_a" {
  type        = string
  description = "Availability zone of the created VPC's first subnet, for regions in which Fargate or an endpoint is not in every zone. Empty takes the region's first."
  default     = null
}

variable "zone_b" {
  type        = string
  description = "Availability zone of the second subnet. Empty takes the region's second."
  default     = null
}

variable "s3_prefix_list_id" {
  type        = string
  description = "The region's prefix list of S3, for the security group created for sandboxes. Empty opens port 443 in the group; without SandboxInternet, routes still lead only to the endpoints."
  default     = null
  validation {
    condition     = var.s3_prefix_list_id == null ? true : can(regex("^(pl-[0-9a-f]+)?$", var.s3_prefix_list_id))
    error_message = "s3_prefix_list_id: the id of a prefix list, pl-...."
  }
}

variable "sandbox_internet" {
  type        = bool
  description = "Whether sandboxes in the created VPC reach the internet on port 443, through a NAT gateway (it is billed by the hour and by the gigabyte). A sandbox can then send what it knows to any HTTPS address."
  default     = null
}

variable "egress_networks" {
  type        = list(string)
  description = "Networks of your VPC, as 10.20.0.0/16, that the egress policies of Fargate steps may reach although they are not public. Loopback and the addresses of cloud metadata are never of use here."
  default     = null
}

variable "sandbox_bucket_arns" {
  type        = list(string)
  description = "ARNs of your own buckets in this region and of the objects in them (arn:aws:s3:::NAME and arn:aws:s3:::NAME/*) that sandboxes in the created VPC may use with credentials of theirs. Its endpoint of S3 lets no other bucket through, also with SandboxInternet."
  default     = null
}

variable "audit_lock_mode" {
  type        = string
  description = "S3 Object Lock mode of the audit archive. Nobody can shorten COMPLIANCE, not even the account root."
  default     = null
  validation {
    condition     = var.audit_lock_mode == null ? true : contains(["GOVERNANCE", "COMPLIANCE"], var.audit_lock_mode)
    error_message = "audit_lock_mode: one of GOVERNANCE, COMPLIANCE."
  }
}

variable "audit_lock_days" {
  type        = number
  description = "Days for which an audit object cannot be deleted or replaced."
  default     = null
  validation {
    condition     = var.audit_lock_days == null ? true : var.audit_lock_days >= 1
    error_message = "audit_lock_days: at least 1."
  }
  validation {
    condition     = var.audit_lock_days == null ? true : var.audit_lock_days <= 36500
    error_message = "audit_lock_days: at most 36500."
  }
}

variable "audit_expire_days" {
  type        = number
  description = "Days after which exported events are deleted; must exceed AuditLockDays. 0 keeps them for ever. Digests are always kept."
  default     = null
  validation {
    condition     = var.audit_expire_days == null ? true : var.audit_expire_days >= 0
    error_message = "audit_expire_days: at least 0."
  }
  validation {
    condition     = var.audit_expire_days == null ? true : var.audit_expire_days <= 36500
    error_message = "audit_expire_days: at most 36500."
  }
}

variable "ocsf_version" {
  type        = string
  description = "Version of OCSF in which new audit events are exported. 1.9 adds who acts for whom, the AI agent, and a chain of the events of each object. What is exported already stays as it is."
  default     = null
  validation {
    condition     = var.ocsf_version == null ? true : contains(["1.6", "1.9"], var.ocsf_version)
    error_message = "ocsf_version: one of 1.6, 1.9."
  }
}

variable "security_lake_bucket" {
  type        = string
  description = "Bucket in this account and region, Security Lake's or your own, to which each day of the audit archive is written as Parquet (docs/guides/siem.md). Empty writes nothing and costs nothing."
  default     = null
  validation {
    condition     = var.security_lake_bucket == null ? true : can(regex("^([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])?$", var.security_lake_bucket))
    error_message = "security_lake_bucket: the name of a bucket."
  }
}

variable "security_lake_prefix" {
  type        = string
  description = "What the keys in SecurityLakeBucket begin with. A class has a folder of its own, PREFIX-CLASS: with ext/sealfleet, Security Lake needs the custom sources sealfleet-2004, -3001, -3003, -3004, -6002 and -6003."
  default     = null
  validation {
    condition     = var.security_lake_prefix == null ? true : can(regex("^[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9][A-Za-z0-9_.-]*)*$", var.security_lake_prefix))
    error_message = "security_lake_prefix: letters, digits, dots, hyphens and underscores between slashes."
  }
  validation {
    condition     = var.security_lake_prefix == null ? true : length(var.security_lake_prefix) <= 128
    error_message = "security_lake_prefix: at most 128 characters."
  }
}

variable "security_lake_kms_key_arn" {
  type        = string
  description = "The key by which SecurityLakeBucket encrypts what is put into it. Empty if it is S3's own."
  default     = null
  validation {
    condition     = var.security_lake_kms_key_arn == null ? true : can(regex("^(arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+)?$", var.security_lake_kms_key_arn))
    error_message = "security_lake_kms_key_arn: the ARN of a KMS key, not of an alias."
  }
}

variable "export_window_seconds" {
  type        = number
  description = "Seconds for which export collects audit rows into one object, unless ExportBatchSize are there sooner. Longer means fewer and larger objects."
  default     = null
  validation {
    condition     = var.export_window_seconds == null ? true : var.export_window_seconds >= 0
    error_message = "export_window_seconds: at least 0."
  }
  validation {
    condition     = var.export_window_seconds == null ? true : var.export_window_seconds <= 300
    error_message = "export_window_seconds: at most 300."
  }
}

variable "export_batch_size" {
  type        = number
  description = "Audit rows that export takes at once. A full batch does not wait for ExportWindowSeconds."
  default     = null
  validation {
    condition     = var.export_batch_size == null ? true : var.export_batch_size >= 10
    error_message = "export_batch_size: at least 10."
  }
  validation {
    condition     = var.export_batch_size == null ? true : var.export_batch_size <= 10000
    error_message = "export_batch_size: at most 10000."
  }
}

variable "queue_age_seconds" {
  type        = number
  description = "Seconds that a step of any project may wait for its pool before an alarm is raised."
  default     = null
  validation {
    condition     = var.queue_age_seconds == null ? true : var.queue_age_seconds >= 60
    error_message = "queue_age_seconds: at least 60."
  }
}

variable "project_metrics" {
  type        = list(string)
  description = "Projects that get metrics of their own, or * for all. Each project costs up to seven metrics a month. The others are only counted in the sums of the deployment; the logs name them in any case."
  default     = null
}

variable "alarm_topic_arn" {
  type        = string
  description = "SNS topic for alarms. Empty leaves the alarms without an action."
  default     = null
}

variable "kms_key_arn" {
  type        = string
  description = "Your own key for tables, buckets, queues and log groups; docs/guides/deploy.md has the key policy that it needs. Empty uses keys that AWS manages."
  default     = null
  validation {
    condition     = var.kms_key_arn == null ? true : can(regex("^(arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+)?$", var.kms_key_arn))
    error_message = "kms_key_arn: the ARN of a KMS key, not of an alias."
  }
}

variable "api_rate_limit" {
  type        = number
  description = "Requests that the API admits each second, over all callers."
  default     = null
  validation {
    condition     = var.api_rate_limit == null ? true : var.api_rate_limit >= 1
    error_message = "api_rate_limit: at least 1."
  }
}

variable "api_burst_limit" {
  type        = number
  description = "Requests that the API admits at once."
  default     = null
  validation {
    condition     = var.api_burst_limit == null ? true : var.api_burst_limit >= 1
    error_message = "api_burst_limit: at least 1."
  }
}

variable "register_rate_limit" {
  type        = number
  description = "Worker registrations that the API admits each second. This is the only route that requires no credential."
  default     = null
  validation {
    condition     = var.register_rate_limit == null ? true : var.register_rate_limit >= 1
    error_message = "register_rate_limit: at least 1."
  }
}

variable "register_burst_limit" {
  type        = number
  description = "Worker registrations that the API admits at once."
  default     = null
  validation {
    condition     = var.register_burst_limit == null ? true : var.register_burst_limit >= 1
    error_message = "register_burst_limit: at least 1."
  }
}

variable "oidc_issuers" {
  type        = string
  description = "OIDC issuers whose JWTs are accepted in addition to API tokens, as JSON: a list of {issuer, audience, project, role, max_age_seconds} (docs/guides/oidc.md). Empty accepts none."
  default     = null
}

variable "issuer_url" {
  type        = string
  description = "The URL that others know this deployment by when they verify identity tokens of steps: a custom domain of the API. Empty is the API's own address. Whoever trusts the old one must trust the new one first (docs/guides/workload-identity.md)."
  default     = null
  validation {
    condition     = var.issuer_url == null ? true : can(regex("^(https://[a-z0-9.-]+)?$", var.issuer_url))
    error_message = "issuer_url: https:// and a host, without a final slash."
  }
}

variable "identity_keys" {
  type        = string
  description = "The keys of identity tokens: the first one signs, and tokens of both are verified. To change the key, go to the next value of this list, and from b to a by way of b,a; wait an hour before each step (docs/guides/workload-identity.md)."
  default     = null
  validation {
    condition     = var.identity_keys == null ? true : contains(["a", "a,b", "b,a", "b"], var.identity_keys)
    error_message = "identity_keys: one of a, a,b, b,a, b."
  }
}

variable "project_requests_per_second" {
  type        = number
  description = "Requests that the callers of one project may make each second, unless an operator sets other limits."
  default     = null
  validation {
    condition     = var.project_requests_per_second == null ? true : var.project_requests_per_second >= 1
    error_message = "project_requests_per_second: at least 1."
  }
  validation {
    condition     = var.project_requests_per_second == null ? true : var.project_requests_per_second <= 10000
    error_message = "project_requests_per_second: at most 10000."
  }
}

variable "project_requests_burst" {
  type        = number
  description = "Requests that the callers of one project may make at once."
  default     = null
  validation {
    condition     = var.project_requests_burst == null ? true : var.project_requests_burst >= 1
    error_message = "project_requests_burst: at least 1."
  }
  validation {
    condition     = var.project_requests_burst == null ? true : var.project_requests_burst <= 10000
    error_message = "project_requests_burst: at most 10000."
  }
}

variable "stop_reserved_concurrency" {
  type        = number
  description = "Concurrency reserved for each function that stops work (revoke, cancel, sweep), so that a flood of other requests cannot delay them. 0 reserves none."
  default     = null
  validation {
    condition     = var.stop_reserved_concurrency == null ? true : var.stop_reserved_concurrency >= 0
    error_message = "stop_reserved_concurrency: at least 0."
  }
}

variable "dispatch_reserved_concurrency" {
  type        = number
  description = "Concurrency reserved for dispatch, which is also its limit. By default ECS starts only 20 tasks a second. 0 sets none."
  default     = null
  validation {
    condition     = var.dispatch_reserved_concurrency == null ? true : var.dispatch_reserved_concurrency >= 0
    error_message = "dispatch_reserved_concurrency: at least 0."
  }
}

variable "table_suffix" {
  type        = string
  description = "What the names of the tables in use end with. Empty uses the tables of this stack; `sealfleet restore open` names restored ones (docs/guides/restore.md)."
  default     = null
  validation {
    condition     = var.table_suffix == null ? true : can(regex("^(-[A-Za-z0-9-]{1,40})?$", var.table_suffix))
    error_message = "table_suffix: a hyphen, then letters, digits and hyphens."
  }
}

variable "ledger_stream_arn" {
  type        = string
  description = "The stream of the ledger table that TableSuffix names. Empty without one."
  default     = null
}

variable "audit_stream_arn" {
  type        = string
  description = "The stream of the audit table that TableSuffix names. Empty without one."
  default     = null
}

variable "closed" {
  type        = bool
  description = "Whether all functions but trail, export and notify are denied the tables: nothing is served, started or ended while tables are restored. `sealfleet restore close` and `open` set it."
  default     = null
}

locals {
  parameters = {
    NamePrefix                  = tostring(var.name_prefix)
    PermissionsBoundaryArn      = tostring(var.permissions_boundary_arn)
    LeaseSeconds                = tostring(var.lease_seconds)
    ResendSeconds               = tostring(var.resend_seconds)
    SecretVersionSeconds        = tostring(var.secret_version_seconds)
    SystemLogLevel              = tostring(var.system_log_level)
    LogRetentionDays            = tostring(var.log_retention_days)
    RunRetentionDays            = tostring(var.run_retention_days)
    Prices                      = tostring(var.prices)
    TrailRetentionDays          = tostring(var.trail_retention_days)
    OutputRetentionDays         = tostring(var.output_retention_days)
    Subnets                     = var.subnets == null ? null : join(",", var.subnets)
    SecurityGroups              = var.security_groups == null ? null : join(",", var.security_groups)
    VpcCidr                     = tostring(var.vpc_cidr)
    ZoneA                       = tostring(var.zone_a)
    ZoneB                       = tostring(var.zone_b)
    S3PrefixListId              = tostring(var.s3_prefix_list_id)
    SandboxInternet             = tostring(var.sandbox_internet)
    EgressNetworks              = var.egress_networks == null ? null : join(",", var.egress_networks)
    SandboxBucketArns           = var.sandbox_bucket_arns == null ? null : join(",", var.sandbox_bucket_arns)
    AuditLockMode               = tostring(var.audit_lock_mode)
    AuditLockDays               = tostring(var.audit_lock_days)
    AuditExpireDays             = tostring(var.audit_expire_days)
    OcsfVersion                 = tostring(var.ocsf_version)
    SecurityLakeBucket          = tostring(var.security_lake_bucket)
    SecurityLakePrefix          = tostring(var.security_lake_prefix)
    SecurityLakeKmsKeyArn       = tostring(var.security_lake_kms_key_arn)
    ExportWindowSeconds         = tostring(var.export_window_seconds)
    ExportBatchSize             = tostring(var.export_batch_size)
    QueueAgeSeconds             = tostring(var.queue_age_seconds)
    ProjectMetrics              = var.project_metrics == null ? null : join(",", var.project_metrics)
    AlarmTopicArn               = tostring(var.alarm_topic_arn)
    KmsKeyArn                   = tostring(var.kms_key_arn)
    ApiRateLimit                = tostring(var.api_rate_limit)
    ApiBurstLimit               = tostring(var.api_burst_limit)
    RegisterRateLimit           = tostring(var.register_rate_limit)
    RegisterBurstLimit          = tostring(var.register_burst_limit)
    OidcIssuers                 = tostring(var.oidc_issuers)
    IssuerUrl                   = tostring(var.issuer_url)
    IdentityKeys                = tostring(var.identity_keys)
    ProjectRequestsPerSecond    = tostring(var.project_requests_per_second)
    ProjectRequestsBurst        = tostring(var.project_requests_burst)
    StopReservedConcurrency     = tostring(var.stop_reserved_concurrency)
    DispatchReservedConcurrency = tostring(var.dispatch_reserved_concurrency)
    TableSuffix                 = tostring(var.table_suffix)
    LedgerStreamArn             = tostring(var.ledger_stream_arn)
    AuditStreamArn              = tostring(var.audit_stream_arn)
    Closed                      = tostring(var.closed)
  }
}

output "api_url" {
  description = "Base URL of the API, without a final slash."
  value       = lookup(aws_cloudformation_stack.this.outputs, "ApiUrl", null)
}

output "issuer" {
  description = "The URL that others know this deployment by when they verify identity tokens of steps."
  value       = lookup(aws_cloudformation_stack.this.outputs, "Issuer", null)
}

output "name_prefix" {
  description = "Parameter NamePrefix of project.yaml."
  value       = lookup(aws_cloudformation_stack.this.outputs, "NamePrefix", null)
}

output "permissions_boundary_arn" {
  description = "Parameter PermissionsBoundaryArn of project.yaml."
  value       = lookup(aws_cloudformation_stack.this.outputs, "PermissionsBoundaryArn", null)
}

output "kms_key_arn" {
  description = "Parameter KmsKeyArn of project.yaml."
  value       = lookup(aws_cloudformation_stack.this.outputs, "KmsKeyArn", null)
}

output "alarm_topic_arn" {
  description = "Parameter AlarmTopicArn of project.yaml."
  value       = lookup(aws_cloudformation_stack.this.outputs, "AlarmTopicArn", null)
}

output "event_failures_url" {
  description = "Events that a function failed on, for the operator to look at."
  value       = lookup(aws_cloudformation_stack.this.outputs, "EventFailuresUrl", null)
}

output "account_id" {
  value = lookup(aws_cloudformation_stack.this.outputs, "AccountId", null)
}

output "ledger_table_name" {
  value = lookup(aws_cloudformation_stack.this.outputs, "LedgerTableName", null)
}

output "audit_table_name" {
  value = lookup(aws_cloudformation_stack.this.outputs, "AuditTableName", null)
}

output "audit_bucket_name" {
  value = lookup(aws_cloudformation_stack.this.outputs, "AuditBucketName", null)
}

output "output_bucket_name" {
  value = lookup(aws_cloudformation_stack.this.outputs, "OutputBucketName", null)
}

output "digest_key_arn" {
  description = "The key that signs digests. Keep its public half (aws kms get-public-key) outside of this account."
  value       = lookup(aws_cloudformation_stack.this.outputs, "DigestKeyArn", null)
}

output "cluster_name" {
  value = lookup(aws_cloudformation_stack.this.outputs, "ClusterName", null)
}

output "table_suffix" {
  description = "What the names of the restored tables in use end with."
  value       = lookup(aws_cloudformation_stack.this.outputs, "TableSuffix", null)
}

output "closed" {
  description = "The functions are denied the tables (docs/guides/restore.md)."
  value       = lookup(aws_cloudformation_stack.this.outputs, "Closed", null)
}

output "trail_failures_url" {
  description = "What trail could not copy, for the operator to look at."
  value       = lookup(aws_cloudformation_stack.this.outputs, "TrailFailuresUrl", null)
}

output "export_failures_url" {
  description = "What export could not write, for the operator to look at."
  value       = lookup(aws_cloudformation_stack.this.outputs, "ExportFailuresUrl", null)
}

output "function_names" {
  description = "Every function, comma separated."
  value       = lookup(aws_cloudformation_stack.this.outputs, "FunctionNames", null)
}
