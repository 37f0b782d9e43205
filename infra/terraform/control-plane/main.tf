# The control plane: infra/sam/template.yaml, as `sam package` writes it.

variable "stack_name" {
  type        = string
  description = "Name of the CloudFormation stack."
  default     = "sealfleet"
}

variable "packaged_template" {
  type        = string
  description = "File that `sam package` wrote: the template, with the functions' code in the artifact bucket."
}

variable "artifact_bucket" {
  type        = string
  description = "Bucket that `sam package` put the code in, in this region. The template goes there as well."
}

variable "tags" {
  type        = map(string)
  description = "Tags of the stack, which CloudFormation gives to its resources."
  default     = {}
}

data "aws_s3_bucket" "artifacts" {
  bucket = var.artifact_bucket
}

# Too large to be handed over in the call itself. The name is that of the content, so a change is seen.
resource "aws_s3_object" "template" {
  bucket = data.aws_s3_bucket.artifacts.id
  key    = "${var.stack_name}/${filesha256(var.packaged_template)}.yaml"
  source = var.packaged_template
}

resource "aws_cloudformation_stack" "this" {
  name         = var.stack_name
  template_url = "https://${data.aws_s3_bucket.artifacts.bucket_regional_domain_name}/${aws_s3_object.template.key}"
  capabilities = ["CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"]
  parameters   = { for name, value in local.parameters : name => value if value != null }
  tags         = var.tags
}
