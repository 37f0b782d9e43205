//! What every container of a step looks like. Hosts make their definitions of it, and `sealfleet
//! image check` tries images in it.

/// The user of every step, uid and gid.
pub const USER: &str = "65534";
/// The directory that a step starts in.
pub const WORK_DIRECTORY: &str = "/workspace";
/// The volumes of a container and their paths: a step can write nowhere else, because its root file
/// system is read-only.
pub const VOLUMES: [(&str, &str); 2] = [("tmp", "/tmp"), ("workspace", WORK_DIRECTORY)];
/// The capabilities that are dropped.
pub const DROPPED: &str = "ALL";
