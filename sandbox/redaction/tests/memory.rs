//! A gigabyte passes in a few megabytes.

use crate::redactor_of;

/// The most memory that this process has had, in KiB (proc_pid_status(5), `VmHWM`).
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn memory_stays_flat_over_a_gigabyte() {
    let values: Vec<String> = (0..20)
        .map(|n| format!("value-{n}-{}", "k".repeat(n)))
        .collect();
    let redactor = redactor_of(&values);
    // Lines that often begin a needle, or hold one.
    let mut piece = Vec::new();
    while piece.len() < 1 << 20 {
        for number in 0..50 {
            piece.extend_from_slice(b"value-3 of a plain line of output, number ");
            piece.extend_from_slice(format!("{number}\n").as_bytes());
        }
        piece.extend_from_slice(b"value-19-kkkkkkkkkkkkkkkkkkk\nvalue-1-k\n");
    }
    let (mut stream, mut out) = (redactor.stream(), Vec::new());
    stream.push(&piece, &mut out);
    let before = peak();
    let mut written = 0;
    for _ in 0..1024 {
        out.clear();
        stream.push(&piece, &mut out);
        written += out.len();
        assert!(stream.held_back() < 1024);
    }
    assert!(written > 1 << 29, "{written} bytes came through");
    let grown = peak() - before;
    assert!(
        grown < 32 * 1024,
        "{grown} KiB more than after the first megabyte"
    );
}
