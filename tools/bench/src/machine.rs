//! The machine, and figures that need no running function.

use std::path::Path;

use sealfleet_test_stack::Outcome;
use serde_json::{Value, json};

use crate::figures::Figures;

const MIB: f64 = 1024.0 * 1024.0;

/// The facts without which figures mean little.
pub fn describe() -> Outcome<Value> {
    let read = |path: &str| std::fs::read_to_string(path);
    let processors = read("/proc/cpuinfo")?;
    let model = processors
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or("unknown");
    let memory = read("/proc/meminfo")?;
    let kilobytes = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .unwrap_or_default();
    let kilobytes: f64 = kilobytes
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap_or_default();
    let load = read("/proc/loadavg")?;
    Ok(json!({
        "cpu": model.trim_start_matches([' ', '\t', ':']).trim(),
        "cores": std::thread::available_parallelism()?.get(),
        "memory": format!("{:.1} GiB", kilobytes / 1024.0 / 1024.0),
        "kernel": read("/proc/sys/kernel/osrelease")?.trim(),
        "load": format!("{} when it began (1 minute); other work on the machine makes times longer", load.split(' ').next().unwrap_or_default()),
    }))
}

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
