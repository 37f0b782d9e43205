//! Where this process can keep small files in memory, which end with the sandbox.

use std::path::Path;

use rustix::fs::{Access, access, statfs};

/// The first is what workers give to a sandbox, the second what every container has, on Fargate
/// too.
const PLACES: [&str; 2] = ["/run", "/dev/shm"];
/// `f_type` of a tmpfs (statfs(2)).
const TMPFS: u64 = 0x0102_1994;

/// A directory in memory that this process can write to.
///
/// # Errors
/// There is none; for people.
pub(crate) fn place() -> Result<&'static Path, String> {
    let mut places = PLACES.iter().map(Path::new);
    places
        .find(|place| is_memory(place) && access(*place, Access::WRITE_OK).is_ok())
        .ok_or_else(|| {
            let places = PLACES.join("` and `");
            format!("neither of `{places}` is a tmpfs that can be written to")
        })
}

/// Whether a directory lies in memory.
pub(crate) fn is_memory(place: &Path) -> bool {
    statfs(place).is_ok_and(|seen| u64::try_from(seen.f_type) == Ok(TMPFS))
}
