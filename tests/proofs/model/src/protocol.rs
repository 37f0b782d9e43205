//! The order of reads and writes: the product's, and ways to get it wrong.

/// Who reads and writes what first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// The product's: a claim writes its lease, then its hold, then reads the revocations; a
    /// revoker writes its row, then reads the leases.
    IntentThenCheck,
    /// A claim reads the revocations, then writes its hold.
    CheckBeforeHold,
    /// A claim writes its hold, then its lease.
    HoldBeforeLease,
    /// A revoker reads the leases, then writes its row.
    LeasesBeforeRow,
    /// A claim reads no revocations.
    ClaimUnchecked,
    /// A launcher that finds its pool's own hold goes on without reading the revocations.
    ResumeUnchecked,
    /// A start reads no revocations.
    StartUnchecked,
    /// A claim puts its lease over one of the same step.
    LeaseOverSameStep,
    /// A claim whose hold is refused deletes whatever lease has its step and fence.
    RefusedDeletesByFence,
    /// The end of a step deletes its lease, then writes the run.
    LeaseEndsFirst,
    /// A worker that claims again deletes its lease, then writes its new hold and a new lease.
    RenewalFreesFirst,
    /// A take-over does not read the run.
    TakeOverUnread,
    /// A take-over reads the run, and leaves it so that the old claim may still be held.
    TakeOverLeavesFence,
    /// A take-over asks for a hold with the fence of the lease.
    TakeOverByFence,
    /// A take-over does not look whether the lease is still the one that it has read.
    TakeOverUnconditional,
    /// A heartbeat looks at the lease alone.
    HeartbeatByLease,
    /// A write is not conditional on the steps that it changes.
    StepUnconditional,
    /// A write is not conditional on what it counts: the steps that are left, and the needs of
    /// those that wait.
    CountLeftOut,
    /// A fan-out stores its next place before it has dealt with what it read.
    PlaceBeforeAborts,
    /// A fan-out stores its next place whatever is stored.
    PlaceUnconditional,
    /// A fan-out finishes when one partition is at its end.
    FinishEarly,
    /// A fan-out goes on after its revocation was lifted.
    FanOutOutlivesLift,
    /// A refused claim ends its step and leaves alone what another delivery has launched under the
    /// same fence.
    RefusalLeavesSandbox,
    /// A refused launch ends its step whatever another delivery has launched under the same fence.
    FailedLaunchEndsOther,
    /// A launch that finds no room puts its step back whatever another delivery has launched under
    /// the same fence.
    NoRoomEndsOther,
    /// A launcher leaves a task alone whose handle was refused. Breaks nothing: two other guards
    /// stop that task.
    LaunchNotTakenBack,
}

impl Protocol {
    /// Every mutation that breaks a promise.
    pub const MUTATIONS: [Self; 24] = [
        Self::CheckBeforeHold,
        Self::HoldBeforeLease,
        Self::LeasesBeforeRow,
        Self::ClaimUnchecked,
        Self::ResumeUnchecked,
        Self::StartUnchecked,
        Self::LeaseOverSameStep,
        Self::RefusedDeletesByFence,
        Self::LeaseEndsFirst,
        Self::RenewalFreesFirst,
        Self::TakeOverUnread,
        Self::TakeOverLeavesFence,
        Self::TakeOverByFence,
        Self::TakeOverUnconditional,
        Self::HeartbeatByLease,
        Self::StepUnconditional,
        Self::CountLeftOut,
        Self::PlaceBeforeAborts,
        Self::PlaceUnconditional,
        Self::FinishEarly,
        Self::FanOutOutlivesLift,
        Self::RefusalLeavesSandbox,
        Self::FailedLaunchEndsOther,
        Self::NoRoomEndsOther,
    ];

    /// What differs from the product, in words.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::IntentThenCheck => "the product's order",
            Self::CheckBeforeHold => "a claim reads the revocations before it writes its hold",
            Self::HoldBeforeLease => "a claim writes its hold before its lease",
            Self::LeasesBeforeRow => "a revoker reads the leases before it writes its row",
            Self::ClaimUnchecked => "a claim reads no revocations",
            Self::ResumeUnchecked => "a launcher that resumes its pool's hold reads no revocations",
            Self::StartUnchecked => "a start reads no revocations",
            Self::LeaseOverSameStep => "a claim puts its lease over one of the same step",
            Self::RefusedDeletesByFence => {
                "a claim whose hold is refused deletes any lease of its step and fence"
            }
            Self::LeaseEndsFirst => "an end deletes the lease before it writes the run",
            Self::RenewalFreesFirst => "a worker that claims again frees its lease first",
            Self::TakeOverUnread => "a take-over does not read the run",
            Self::TakeOverLeavesFence => "a take-over leaves the step's fence as it is",
            Self::TakeOverByFence => "a take-over looks for a hold with the lease's own fence",
            Self::TakeOverUnconditional => {
                "a take-over is not conditional on the lease that it has read"
            }
            Self::HeartbeatByLease => "a heartbeat looks at the lease and not at the run",
            Self::StepUnconditional => "a write is not conditional on the steps that it changes",
            Self::CountLeftOut => "an end does not count the steps that are left",
            Self::PlaceBeforeAborts => {
                "a fan-out stores its next place before it aborts what it read"
            }
            Self::PlaceUnconditional => "a fan-out stores its next place whatever is stored",
            Self::FinishEarly => "a fan-out finishes when one partition is at its end",
            Self::FanOutOutlivesLift => "a fan-out goes on after its revocation was lifted",
            Self::RefusalLeavesSandbox => {
                "a refused claim leaves alone what a second delivery has launched"
            }
            Self::FailedLaunchEndsOther => {
                "a launch that ECS refuses ends a step that a second delivery has launched"
            }
            Self::NoRoomEndsOther => {
                "a launch without room puts back a step that a second delivery has launched"
            }
            Self::LaunchNotTakenBack => "a launcher leaves a task alone whose handle was refused",
        }
    }
}
