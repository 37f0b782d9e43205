//! The machine that something was measured on.

use serde_json::{Value, json};

use crate::Outcome;

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
