//! The archive of the audit trail in S3: names and contents of its objects, and the signed digests
//! that show an edit.

pub mod digest;
pub mod objects;
