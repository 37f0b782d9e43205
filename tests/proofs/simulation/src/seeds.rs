//! Seeds that once failed, and playing many of them on all cores.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::simulation::{Report, Simulation};

/// Seeds that found something, one a line, with what it was.
const KEPT: &str = include_str!("../seeds.txt");

/// The kept seeds. They are played first.
pub fn kept() -> Vec<u64> {
    KEPT.lines()
        .filter_map(|line| line.split_whitespace().next()?.parse().ok())
        .collect()
}

/// What many seeds came to.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Seeds that were played.
    pub played: u64,
    /// Runs by how they ended.
    pub ends: BTreeMap<&'static str, u64>,
    /// Tasks that were launched.
    pub tasks: u64,
    /// Objects that were exported.
    pub objects: u64,
    /// Messages that were received too often.
    pub dead_letters: u64,
    /// Seeds that failed, the smallest first.
    pub failed: Vec<Report>,
}

impl Summary {
    fn add(&mut self, report: Report) {
        self.played += 1;
        self.tasks += report.tasks as u64;
        self.objects += report.objects as u64;
        self.dead_letters += report.dead_letters as u64;
        for end in &report.ends {
            *self.ends.entry(end).or_default() += 1;
        }
        if !report.violations.is_empty() {
            self.failed.push(report);
            self.failed.sort_by_key(|report| report.seed);
        }
    }
}

/// Plays seeds on all cores, until `enough` of them have failed.
pub fn play(seeds: &[u64], enough: usize) -> Result<Summary, String> {
    let next = AtomicU64::new(0);
    let summary = Mutex::new(Summary::default());
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    let work = || -> Result<(), String> {
        let simulation = Simulation::new()?;
        loop {
            let at = usize::try_from(next.fetch_add(1, Ordering::Relaxed)).unwrap_or(usize::MAX);
            let Some(seed) = seeds.get(at) else {
                return Ok(());
            };
            let report = simulation.play(*seed, false);
            let mut summary = summary
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            summary.add(report);
            if summary.failed.len() >= enough {
                return Ok(());
            }
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| {
            thread
                .join()
                .unwrap_or_else(|_| Err("a thread panicked".to_owned()))
        })
    })?;
    Ok(summary
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner))
}
