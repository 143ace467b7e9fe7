//! The traffic between nodes.

use crate::bootstrap::Greeter;
use crate::config::Config;
use crate::error::Failure;
use crate::listeners::Materials;
use crate::members::peer_members;
use crate::part::Part;
use portolan_consensus::LocalNode;
use portolan_meta::query;
use portolan_peer::{Handlers, IdentityTable, LocalIdentity, PeerIdentity, PeerServer, Peers};
use portolan_registry::{Floors, Registry};
use portolan_store::State;
use std::sync::{Arc, OnceLock};
use tokio::net::TcpListener;

/// The traffic between nodes: open from the first moment for `hello`, for everything once [`Net::answer`] is called.
pub(crate) struct Net {
    local: Arc<LocalIdentity>,
    /// What is committed about the others.
    pub(crate) table: Arc<IdentityTable>,
    /// The client.
    pub(crate) peers: Arc<Peers>,
    greeter: Arc<Greeter>,
    handlers: Arc<OnceLock<Handlers>>,
}

impl Net {
    /// Opens it for `hello`; `member` says whether the folder belongs to a cluster already. The part is the server.
    pub(crate) fn open(config: &Config, materials: &Materials, listener: TcpListener, member: bool) -> (Self, Part) {
        let local = LocalIdentity::unknown();
        let table = IdentityTable::new(Arc::clone(&local));
        let limits = config.peer.limits.clone();
        let peers = Peers::new(Arc::clone(&local), table.clone(), Arc::clone(&materials.connector), limits.clone());
        let greeter = Greeter::new(config, Arc::clone(&local));
        if member {
            greeter.belong();
        }
        let handlers = Arc::new(OnceLock::new());
        let server =
            PeerServer::new(limits.clone(), Arc::clone(&local), table.clone(), Arc::clone(&handlers), greeter.clone());
        let incoming = portolan_peer::tls::accept_stream(listener, materials.acceptor.clone(), &limits);
        peers.set_members(peer_members(config));
        let mut back = Part::new();
        let stop = back.stop.clone();
        back.tasks.spawn(async move {
            let served = server.serve(incoming, stop.cancelled_owned()).await;
            ("the peer server", served.map_err(Failure::start("the peer server")))
        });
        (Self { local, table, peers, greeter, handlers }, back)
    }

    /// The folder belongs to a cluster from now on.
    pub(crate) fn belong(&self) {
        self.greeter.belong();
    }

    /// Makes the identity known, and what the state knows of the others' identities.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub(crate) fn identify(&self, local: &LocalNode, state: &Arc<State>) -> Result<(), Failure> {
        self.greeter.open(Arc::clone(state));
        for row in state.read(query::nodes).map_err(Failure::start("reading the nodes"))? {
            self.table.commit(row.id, &row.storage_uuid, row.incarnation);
        }
        self.local.set(PeerIdentity {
            cluster_id: local.cluster_id.clone(),
            epoch: local.epoch,
            node: local.id,
            storage_uuid: local.storage_uuid.clone(),
            incarnation: local.incarnation,
            boot: ulid::Ulid::new().to_string(),
        });
        Ok(())
    }

    /// Lets the peer server answer everything.
    pub(crate) fn answer(&self, floors: &Floors, registry: &Arc<Registry>) {
        let handlers = Handlers {
            raft: floors.consensus.raft_handler(),
            cluster: floors.consensus.cluster_handler(),
            blobs: floors.replication.blob_handler(),
            uploads: registry.upload_handler(),
        };
        // Set once per process.
        let _ = self.handlers.set(handlers);
    }
}
