# What one project owns: infra/sam/project.yaml.

variable "stack_name" {
  type        = string
  description = "Name of the CloudFormation stack. Null: `NAME_PREFIX-project-PROJECT`."
  default     = null
}

variable "tags" {
  type        = map(string)
  description = "Tags of the stack, which CloudFormation gives to its resources."
  default     = {}
}

locals {
  default_name = "${coalesce(var.name_prefix, "sealfleet")}-project-${var.project}"
}

resource "aws_cloudformation_stack" "this" {
  name          = coalesce(var.stack_name, local.default_name)
  template_body = file("${path.module}/../../sam/project.yaml")
  capabilities  = ["CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"]
  parameters    = { for name, value in local.parameters : name => value if value != null }
  tags          = var.tags
}
