//! The dedupe window: what makes repeating a proposal harmless.

use super::tx::Tx;
use crate::codec::{encode, read};
use crate::command::ProposalKey;
use crate::family::Family;
use crate::key;
use crate::limits;
use crate::outcome::{Outcome, Refusal};
use crate::row::DedupeRow;
use crate::view::{View, ViewError};
use portolan_sabotage::Sabotage;

pub(super) enum Verdict {
    /// Never seen; the proposer's window as it is now, if there is one.
    Fresh(Option<DedupeRow>),
    /// Seen, or no longer to be judged: this is the answer.
    Repeated(Outcome),
}

pub(super) fn judge(view: &dyn View, name: &ProposalKey) -> Result<Verdict, ViewError> {
    let window: Option<DedupeRow> = read(view, Family::Dedupe, &key::dedupe_window(name.node))?;
    let Some(known) = &window else {
        return Ok(Verdict::Fresh(None));
    };
    // Sabotaged: nothing was ever seen.
    if portolan_sabotage::is(Sabotage::NoDedupe) {
        return Ok(Verdict::Fresh(window));
    }
    if name.incarnation < known.incarnation {
        let refusal = Refusal::OldIncarnation { proposed: name.incarnation, known: known.incarnation };
        return Ok(Verdict::Repeated(Outcome::Refused(refusal)));
    }
    if name.incarnation > known.incarnation {
        return Ok(Verdict::Fresh(window));
    }
    if name.sequence < known.settled_below {
        let refusal = Refusal::Settled { sequence: name.sequence, settled_below: known.settled_below };
        return Ok(Verdict::Repeated(Outcome::Refused(refusal)));
    }
    let outcome = read(view, Family::Dedupe, &key::dedupe_outcome(name.node, name.incarnation, name.sequence))?;
    Ok(outcome.map_or(Verdict::Fresh(window), Verdict::Repeated))
}

/// Stores the outcome, moves the window, and removes some of what fell out of it.
pub(super) fn remember(
    tx: &mut Tx<'_>,
    window: Option<DedupeRow>,
    name: &ProposalKey,
    outcome: &Outcome,
) -> Result<(), ViewError> {
    // A proposal cannot settle itself.
    let settled_below = name.settled_below.min(name.sequence);
    let before = window.clone();
    let mut now = match window {
        Some(window) if window.incarnation == name.incarnation => window,
        // What the older incarnation left is removed by a scan, which needs no knowledge of where it ended. The new
        // window begins at the oldest sequence that it may still hear of.
        older => DedupeRow {
            incarnation: name.incarnation,
            settled_below,
            trimmed_below: settled_below,
            leftovers: older.is_some(),
        },
    };
    now.settled_below = now.settled_below.max(settled_below);
    trim_settled(tx, &mut now, name);
    if now.leftovers {
        now.leftovers = trim_leftovers(tx, name)?;
    }
    tx.put_raw(Family::Dedupe, key::dedupe_outcome(name.node, name.incarnation, name.sequence), encode(outcome));
    if before.as_ref() != Some(&now) {
        tx.put(Family::Dedupe, key::dedupe_window(name.node), &now);
    }
    Ok(())
}

/// Removes settled outcomes by their numbers. Not by a scan: it would wade through the tombstones of all that were
/// removed before.
fn trim_settled(tx: &mut Tx<'_>, window: &mut DedupeRow, name: &ProposalKey) {
    let until = window.settled_below.min(window.trimmed_below.saturating_add(limits::DEDUPE_TRIM));
    for sequence in window.trimmed_below..until {
        tx.delete(Family::Dedupe, key::dedupe_outcome(name.node, name.incarnation, sequence));
    }
    window.trimmed_below = window.trimmed_below.max(until);
}

/// Removes outcomes of older incarnations, which sort before the current one's. Whether some may be left.
fn trim_leftovers(tx: &mut Tx<'_>, name: &ProposalKey) -> Result<bool, ViewError> {
    let prefix = key::dedupe_window(name.node);
    let limit = usize::try_from(limits::DEDUPE_TRIM).unwrap_or(usize::MAX);
    let rows = tx.view().scan(Family::Dedupe, &prefix, Some(&prefix), limit)?;
    let current = key::dedupe_outcome(name.node, name.incarnation, 0);
    let old: Vec<Vec<u8>> = rows.iter().map(|(key, _)| key.to_vec()).take_while(|key| *key < current).collect();
    let more = old.len() == limit;
    for key in old {
        tx.delete(Family::Dedupe, key);
    }
    Ok(more)
}
