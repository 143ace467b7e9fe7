//! What must hold, one invariant per file. Each is a pure judgement of the evidence that a run left behind: what clients
//! saw, what was broken when, and what was found once everything had healed and was quiet.
//!
//! | invariant | promise |
//! |---|---|
//! | [`tags_linearizable`] | P2: a tag is one register, where an answer is not marked stale |
//! | [`read_your_push`] | P2: a read that starts after a push's 201 sees that push or a later one, at every node |
//! | [`acknowledged_is_pullable`] | P1, P3: what was acknowledged and not deleted is whole and right at every node |
//! | [`right_bytes`] | P4: no wrong byte, and no short answer that ends as if whole |
//! | [`no_false_404`] | P3: 404 means that there is no committed record |
//! | [`pulls_go_on`] | P3, P6, P7: a node that nothing was done to serves every digest that it holds, also cut off |
//! | [`come_again`] | P7: whoever is refused for now is told when to come again |
//! | [`stale_is_marked`] | P2, P7: what is older than linearizable says so and how old it is, or is within its bound |
//! | [`acked_by_policy`] | P1, P6: the loss of a region loses nothing that two regions acknowledged |
//! | [`copies_made`] | P1, P6: every region has a copy of what was acknowledged, once all is quiet |
//! | [`replicas_agree`] | section 3: the state is the same at the same applied index |
//! | [`nothing_left_over`] | P8, P10: no file, session or pin stays that nobody needs |
//! | [`within_limits`] | P10: memory, disk and open files stay within their limits |
//! | [`writes_resume`] | P6: no stretch without an acknowledged write is longer than the bound |
//! | [`history_order`] | P2: the tag history is an order of the writes that clients saw acknowledged |
//! | [`no_complaints`] | P9: no node panics, or finds its own state wrong |
//!
//! Time is compared strictly: a call was over before another began only when its end is the smaller number. Whatever
//! clients cannot know for certain (a write without an answer, two calls at one time) excuses.

mod evidence;

pub mod acked_by_policy;
pub mod acknowledged_is_pullable;
pub mod come_again;
pub mod copies_made;
pub mod history_order;
pub mod no_complaints;
pub mod no_false_404;
pub mod nothing_left_over;
pub mod pulls_go_on;
pub mod read_your_push;
pub mod replicas_agree;
pub mod right_bytes;
pub mod stale_is_marked;
pub mod tags_linearizable;
pub mod within_limits;
pub mod writes_resume;

mod facts;
#[cfg(test)]
pub(crate) mod hand;
mod losses;
mod tags;

pub use evidence::{After, Bounds, Event, Evidence, FinalPull, Invariant, NodeInfo, Sample, Violation};

/// All of them, in the order of the table.
pub const ALL: &[&dyn Invariant] = &[
    &tags_linearizable::TagsLinearizable,
    &read_your_push::ReadYourPush,
    &acknowledged_is_pullable::AcknowledgedIsPullable,
    &right_bytes::RightBytes,
    &no_false_404::NoFalse404,
    &pulls_go_on::PullsGoOn,
    &come_again::ComeAgain,
    &stale_is_marked::StaleIsMarked,
    &acked_by_policy::AckedByPolicy,
    &copies_made::CopiesMade,
    &replicas_agree::ReplicasAgree,
    &nothing_left_over::NothingLeftOver,
    &within_limits::WithinLimits,
    &writes_resume::WritesResume,
    &history_order::HistoryOrder,
    &no_complaints::NoComplaints,
];
