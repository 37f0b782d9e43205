//! The machine, and figures that need no running function.

use std::path::Path;

use sealfleet_test_stack::Outcome;

use crate::figures::Figures;

const MIB: f64 = 1024.0 * 1024.0;

/// The size of the binary that all functions share.
#[expect(clippy::cast_precision_loss, reason = "sizes are small")]
pub fn size(figures: &mut Figures, functions: &Path) -> Outcome {
    figures.add_against(
        "functions: size of the one binary (release)",
        std::fs::metadata(functions)?.len() as f64 / MIB,
        "MiB",
        8.0,
    );
    Ok(())
}

/// A line of /proc/PID/status (proc(5)) in MiB, such as `VmRSS`.
pub fn memory_of(pid: u32, line: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kilobytes = status
        .lines()
        .find_map(|found| found.strip_prefix(line)?.strip_prefix(':'));
    kilobytes
        .and_then(|text| text.trim().trim_end_matches(" kB").parse::<f64>().ok())
        .unwrap_or_default()
        / 1024.0
}

/// Milliseconds that all threads of a process have been on a CPU, from the first number of
/// /proc/PID/task/TID/schedstat (kernel documentation, sched-stats).
#[expect(clippy::cast_precision_loss, reason = "times are short")]
pub fn cpu_millis_of(pid: u32) -> f64 {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten();
    let nanos: u64 = threads
        .filter_map(|thread| {
            let stat = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
            stat.split(' ').next()?.parse::<u64>().ok()
        })
        .sum();
    nanos as f64 / 1e6
}
