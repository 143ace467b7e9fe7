//! openraft's own test suite for log and state machine, on the real stores.

use crate::log_store::LogStore;
use crate::state_machine::{Announcer, BatchLimits, StateMachine};
use crate::traces::EntryTraces;
use crate::types::Types;
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use portolan_store::{Config, RaftLog, State};
use std::sync::Arc;
use tempfile::TempDir;

/// Opens both stores in a folder that vanishes.
struct Folder;

impl StoreBuilder<Types, LogStore, StateMachine, TempDir> for Folder {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine), StorageError<Types>> {
        let folder = tempfile::tempdir().expect("a folder");
        let config = Config::default();
        let log = RaftLog::open(folder.path(), &config).expect("the log opens");
        let state = State::open(folder.path(), &config).expect("the state opens");
        let limits = BatchLimits { entries: 2, bytes: 1 << 20 };
        let traces = Arc::new(EntryTraces::new(16));
        let machine =
            StateMachine::open(state, Announcer::new(16), limits, Arc::clone(&traces)).expect("the state reads");
        Ok((folder, LogStore::new(log, 1 << 20, traces), machine))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stores_pass_openraft_s_suite() {
    Suite::test_all(Folder).await.expect("the suite passes");
}
