//! Whether the ports of `portolan dev` are free, before anything is started.

use super::layout::NodePlan;
use crate::error::Failure;
use std::io;
use std::net::TcpListener;

/// Checks every port of every node.
///
/// # Errors
/// Every port that is taken, and which argument moves it.
pub(crate) fn check(nodes: &[NodePlan]) -> Result<(), Failure> {
    let mut taken = Vec::new();
    for node in nodes {
        for (what, offset, address) in
            [("registry", "", node.public), ("peer", "+2000", node.peer), ("ops", "+4100", node.ops)]
        {
            let Err(error) = TcpListener::bind(address) else { continue };
            // An address that is not this host's belongs to the launcher's host: the node itself will tell.
            if error.kind() != io::ErrorKind::AddrInUse {
                continue;
            }
            let at = node.id - 1;
            taken.push(format!(
                "port {} on {} is taken; it would be the {what} port of {} (--base-port{offset}+{at}): give another \
                 --base-port",
                address.port(),
                address.ip(),
                node.name,
            ));
        }
    }
    if taken.is_empty() { Ok(()) } else { Err(Failure::PortsTaken(taken)) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

    use super::{NodePlan, check};
    use std::net::TcpListener;

    #[test]
    fn a_taken_port_is_named_with_the_argument_that_moves_it() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let free = "127.0.0.1:0".parse().unwrap();
        let node = NodePlan {
            id: 3,
            name: "ap-south-1".to_owned(),
            region: "ap-south".to_owned(),
            public: free,
            peer: taken.local_addr().unwrap(),
            ops: free,
            folder: "/unused".into(),
            launcher: Vec::new(),
        };
        let said = check(std::slice::from_ref(&node)).unwrap_err().to_string();
        let port = taken.local_addr().unwrap().port();
        assert!(said.contains(&format!("port {port} on 127.0.0.1 is taken")), "{said}");
        assert!(said.contains("the peer port of ap-south-1 (--base-port+2000+2)"), "{said}");
        drop(taken);
        check(&[node]).unwrap();
    }
}
