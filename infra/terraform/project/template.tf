# The parameters and outputs of infra/sam/project.yaml, written by infra/terraform/check.py --write.

variable "name_prefix" {
  type        = string
  description = "Parameter NamePrefix of template.yaml."
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
  description = "Permissions boundary of the execution role. Empty sets none."
  default     = null
  validation {
    condition     = var.permissions_boundary_arn == null ? true : can(regex("^(arn:[a-z-]+:iam::([0-9]{12}|aws):policy/.+)?$", var.permissions_boundary_arn))
    error_message = "permissions_boundary_arn: the ARN of a managed policy."
  }
}

variable "project" {
  type        = string
  description = "The project's id. Cannot be `system`, which is the name of the operators' scope."
  nullable    = false
  validation {
    condition     = can(regex("^[a-z][a-z0-9]*(-[a-z0-9]+)*$", var.project))
    error_message = "project: lower-case letters, digits and single hyphens, starting with a letter."
  }
  validation {
    condition     = length(var.project) <= 32
    error_message = "project: at most 32 characters."
  }
}

variable "pull_pool" {
  type        = string
  description = "Pool of the project's own workers. Empty for none."
  default     = null
  validation {
    condition     = var.pull_pool == null ? true : can(regex("^([a-z][a-z0-9]*(-[a-z0-9]+)*)?$", var.pull_pool))
    error_message = "pull_pool: lower-case letters, digits and single hyphens, starting with a letter."
  }
  validation {
    condition     = var.pull_pool == null ? true : length(var.pull_pool) <= 24
    error_message = "pull_pool: at most 24 characters."
  }
}

variable "fargate_pool" {
  type        = string
  description = "Pool that runs on Fargate. Empty for none. Must differ from PullPool."
  default     = null
  validation {
    condition     = var.fargate_pool == null ? true : can(regex("^([a-z][a-z0-9]*(-[a-z0-9]+)*)?$", var.fargate_pool))
    error_message = "fargate_pool: lower-case letters, digits and single hyphens, starting with a letter."
  }
  validation {
    condition     = var.fargate_pool == null ? true : length(var.fargate_pool) <= 24
    error_message = "fargate_pool: at most 24 characters."
  }
}

variable "kms_key_arn" {
  type        = string
  description = "Parameter KmsKeyArn of template.yaml, for the queues and the log group."
  default     = null
  validation {
    condition     = var.kms_key_arn == null ? true : can(regex("^(arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+)?$", var.kms_key_arn))
    error_message = "kms_key_arn: the ARN of a KMS key, not of an alias."
  }
}

variable "issuer" {
  type        = string
  description = "Output Issuer of template.yaml, so that the project's own workers can read its secrets in Secrets Manager. The account needs an OIDC provider of it with the audience sealfleet.secrets (docs/guides/aws-sm-backend.md). Empty for no such workers."
  default     = null
  validation {
    condition     = var.issuer == null ? true : can(regex("^(https://[A-Za-z0-9.-]+(:[0-9]+)?(/[A-Za-z0-9./-]+)?|http://127\\.0\\.0\\.1:.+)?$", var.issuer))
    error_message = "issuer: the URL without a final slash."
  }
}

variable "secrets_kms_key_arn" {
  type        = string
  description = "Your own key of the project's secrets and of those that the operators share (sealfleet secret put --kms-key). Empty if Secrets Manager encrypts them with the account's key."
  default     = null
  validation {
    condition     = var.secrets_kms_key_arn == null ? true : can(regex("^(arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+)?$", var.secrets_kms_key_arn))
    error_message = "secrets_kms_key_arn: the ARN of a KMS key, not of an alias."
  }
}

variable "alarm_topic_arn" {
  type        = string
  description = "SNS topic for alarms. Empty leaves the alarms without an action."
  default     = null
}

variable "queue_age_seconds" {
  type        = number
  description = "Seconds that a message may wait before an alarm of the project's own is raised. 0 makes no alarms: those of the control plane watch all projects together."
  default     = null
  validation {
    condition     = var.queue_age_seconds == null ? true : var.queue_age_seconds >= 0
    error_message = "queue_age_seconds: at least 0."
  }
}

variable "log_retention_days" {
  type        = number
  description = "Days to keep the logs."
  default     = null
  validation {
    condition     = var.log_retention_days == null ? true : contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1827, 3653], var.log_retention_days)
    error_message = "log_retention_days: one of 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1827, 3653."
  }
}

locals {
  parameters = {
    NamePrefix             = tostring(var.name_prefix)
    PermissionsBoundaryArn = tostring(var.permissions_boundary_arn)
    Project                = tostring(var.project)
    PullPool               = tostring(var.pull_pool)
    FargatePool            = tostring(var.fargate_pool)
    KmsKeyArn              = tostring(var.kms_key_arn)
    Issuer                 = tostring(var.issuer)
    SecretsKmsKeyArn       = tostring(var.secrets_kms_key_arn)
    AlarmTopicArn          = tostring(var.alarm_topic_arn)
    QueueAgeSeconds        = tostring(var.queue_age_seconds)
    LogRetentionDays       = tostring(var.log_retention_days)
  }
}

output "pull_queue_url" {
  value = lookup(aws_cloudformation_stack.this.outputs, "PullQueueUrl", null)
}

output "fargate_queue_url" {
  value = lookup(aws_cloudformation_stack.this.outputs, "FargateQueueUrl", null)
}

output "execution_role_arn" {
  value = lookup(aws_cloudformation_stack.this.outputs, "ExecutionRoleArn", null)
}

output "reader_role_arn" {
  value = lookup(aws_cloudformation_stack.this.outputs, "ReaderRoleArn", null)
}

output "log_group_name" {
  value = lookup(aws_cloudformation_stack.this.outputs, "LogGroupName", null)
}
