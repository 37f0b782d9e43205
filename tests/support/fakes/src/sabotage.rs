//! Faults of the world itself, beyond what it promises: with any of them the handlers cannot be
//! right, and the invariants must say so. This is how the simulation itself is tested.

/// A promise that the world breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// Writes are made whatever their conditions say.
    IgnoredConditions,
    /// Now and then a transaction leaves its last write out.
    TornTransactions,
    /// ECS launches another task for a client token that it has seen.
    ForgottenClientTokens,
    /// ECS says that it stops a task, and does not.
    DeafTasks,
    /// The due index loses what is put into it, now and then.
    LostIndexEntries,
}

impl Sabotage {
    pub const ALL: [Self; 5] = [
        Self::IgnoredConditions,
        Self::TornTransactions,
        Self::ForgottenClientTokens,
        Self::DeafTasks,
        Self::LostIndexEntries,
    ];
}
