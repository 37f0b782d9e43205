//! The archive of the audit trail in S3: the names and content of its objects, and the signed
//! digests that reveal any edit.

pub mod digest;
pub mod objects;
