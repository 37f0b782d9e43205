//! Freed memory holds nothing.

use std::hint::black_box;
use std::io::{Read as _, Seek as _, SeekFrom};

use sealfleet_init::allocator::ZeroOnFree;

#[global_allocator]
static ALLOCATOR: ZeroOnFree = ZeroOnFree;

/// How often `needle` is in this process's writable memory. It is searched for in parts, so that
/// the search is not what is found.
fn copies(first: &[u8], second: &[u8]) -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let mut memory = std::fs::File::open("/proc/self/mem").unwrap();
    let mut found = 0;
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let (start, end) = (
            u64::from_str_radix(start, 16).unwrap(),
            u64::from_str_radix(end, 16).unwrap(),
        );
        // Page by page, with a buffer off the heap, so that the reading does not multiply what it
        // looks for.
        let mut page = [0_u8; 4096];
        for address in (start..end).step_by(page.len()) {
            if memory.seek(SeekFrom::Start(address)).is_err()
                || memory.read_exact(&mut page).is_err()
            {
                continue;
            }
            if address.abs_diff(page.as_ptr() as u64) < 8192 {
                continue;
            }
            let both = |window: &[u8]| window.starts_with(first) && window.ends_with(second);
            found += page
                .windows(first.len() + second.len())
                .filter(|window| both(window))
                .count();
        }
    }
    found
}

#[test]
fn a_freed_or_grown_block_leaves_nothing_behind() {
    // A middle slice of the planted value: free lists overwrite the first bytes.
    let (first, second) = (b"middle-of-", b"the-canary");
    let mut planted = Vec::with_capacity(64);
    planted.extend_from_slice(&[b'.'; 32]);
    planted.extend_from_slice(black_box(first));
    planted.extend_from_slice(black_box(second));
    assert_eq!(copies(first, second), 1, "what is there is found");
    let pinned = black_box(planted.clone());
    assert_eq!(copies(first, second), 2, "every copy is found");
    drop(pinned);
    assert_eq!(copies(first, second), 1, "dropping wipes");
    planted.reserve_exact(100_000);
    black_box(&planted);
    assert_eq!(copies(first, second), 1, "growing wipes the old block");
    drop(planted);
    assert_eq!(copies(first, second), 0);
}
