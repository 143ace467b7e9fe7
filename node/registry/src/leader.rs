//! Who leads the cluster, and having another node lead.

use crate::error::{LeaderError, RegistryError};
use crate::registry::Registry;
use portolan_consensus::HandoverError;
use portolan_meta::id::NodeId;
use portolan_meta::query;
use portolan_meta::row::NodeRow;
use serde::{Deserialize, Serialize};

/// Who leads, as the asked node knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaderReport {
    /// The leader's name; `null` when this node knows none.
    pub leader: Option<String>,
    /// The newest Raft term that this node knows.
    pub term: u64,
}

/// Who shall lead.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaderWanted {
    /// A node's name or id; absent or `null` is, of the voters that answer the leader, the one that lacks least of its
    /// log.
    #[serde(default)]
    pub node: Option<String>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaderChange {
    /// The name of the node that led.
    pub before: String,
    /// The name of the node that leads: the same, if it was the wanted one already.
    pub leader: String,
}

impl Registry {
    /// Who leads.
    ///
    /// # Errors
    /// The state could not be read.
    pub fn leader(&self) -> Result<LeaderReport, RegistryError> {
        let status = self.floors.consensus.status();
        let rows = self.local().read(query::nodes)?;
        Ok(LeaderReport { leader: status.leader.map(|leader| name_of(&rows, leader)), term: status.term })
    }

    /// Has another node lead. Returns once it does; it may be asked of any node.
    ///
    /// # Errors
    /// See [`LeaderError`]; `Stopping`.
    pub async fn set_leader(&self, wanted: &LeaderWanted) -> Result<LeaderChange, RegistryError> {
        let rows = self.local().read(query::nodes)?;
        let heir = wanted.node.as_deref().map(|node| find(&rows, node)).transpose()?;
        let done =
            self.floors.consensus.hand_over(heir, self.commit_deadline()).await.map_err(|error| match error {
                HandoverError::NoLeader => LeaderError::NoLeader.into(),
                HandoverError::Unfit { node, why } => LeaderError::Unfit { node: name_of(&rows, node), why }.into(),
                HandoverError::Nobody => LeaderError::Nobody.into(),
                HandoverError::NotTaken => LeaderError::NotTaken.into(),
                HandoverError::NotUnderstood { node } => {
                    LeaderError::NotUnderstood { leader: name_of(&rows, node) }.into()
                }
                HandoverError::Stopped => RegistryError::Stopping,
            })?;
        let change = LeaderChange { before: name_of(&rows, done.before), leader: name_of(&rows, done.leader) };
        if change.before != change.leader {
            tracing::info!(before = change.before, leader = change.leader, "the leadership was moved");
        }
        Ok(change)
    }
}

/// A node by its name; where none is called so, by its id.
fn find(rows: &[NodeRow], wanted: &str) -> Result<NodeId, LeaderError> {
    let by_id = || rows.iter().find(|row| wanted.parse() == Ok(row.id.0));
    let found = rows.iter().find(|row| row.name == wanted).or_else(by_id);
    found.map(|row| row.id).ok_or_else(|| LeaderError::Unknown {
        node: wanted.to_owned(),
        known: rows.iter().map(|row| row.name.clone()).collect(),
    })
}

/// A node that has not announced itself yet has only its id.
fn name_of(rows: &[NodeRow], node: NodeId) -> String {
    rows.iter().find(|row| row.id == node).map_or_else(|| node.to_string(), |row| row.name.clone())
}
