//! The archive of the audit trail in S3: what its objects are called and hold, and the signed digests that show an edit.

pub mod digest;
pub mod objects;
