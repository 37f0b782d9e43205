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
    /// The due index shows what is due five minutes late.
    LateIndex,
    /// The due index shows only what is due first, and of that not much.
    ShortIndex,
    /// A read of a row that is not there finds the row of another project.
    SharedRows,
    /// Profiles are read without their access lists.
    LostAccessLists,
    /// A queue loses what is sent about a step of which it has a dead letter.
    DeafQueues,
    /// The audit table's stream loses a record, now and then.
    LostRecords,
    /// The archive changes what it is given, now and then.
    ForgedObjects,
}

impl Sabotage {
    pub const ALL: [Self; 12] = [
        Self::IgnoredConditions,
        Self::TornTransactions,
        Self::ForgottenClientTokens,
        Self::DeafTasks,
        Self::LostIndexEntries,
        Self::LateIndex,
        Self::ShortIndex,
        Self::SharedRows,
        Self::LostAccessLists,
        Self::DeafQueues,
        Self::LostRecords,
        Self::ForgedObjects,
    ];
}
