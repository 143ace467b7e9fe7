//! The throw-away authority of `portolan dev` and the nodes' certificates, kept in the data folder so that a restart
//! uses them again.

use super::layout::NodePlan;
use crate::error::Failure;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The name that every node's certificate carries, whatever its address is.
const PEER_NAME: &str = "portolan-peer";

/// Where the authority's certificate is.
pub(crate) fn authority_path(data: &Path) -> PathBuf {
    data.join("ca.pem")
}

/// Where a node's certificate and key are.
pub(crate) fn node_paths(node: &NodePlan) -> (PathBuf, PathBuf) {
    (node.folder.join("peer.pem"), node.folder.join("peer.key"))
}

/// Makes what is missing: the authority, and a certificate for each node.
///
/// # Errors
/// When a file cannot be read or written, or a kept key is damaged.
pub(crate) fn ensure(data: &Path, nodes: &[NodePlan]) -> Result<(), Failure> {
    let key_path = data.join("ca.key");
    let kept = key_path.exists() && authority_path(data).exists();
    let key = if kept {
        KeyPair::from_pem(&std::fs::read_to_string(&key_path).map_err(Failure::file(&key_path))?)?
    } else {
        KeyPair::generate()?
    };
    let params = authority_params()?;
    if !kept {
        write_private(&key_path, &key.serialize_pem())?;
        let path = authority_path(data);
        std::fs::write(&path, params.self_signed(&key)?.pem()).map_err(Failure::file(&path))?;
    }
    let issuer = Issuer::from_params(&params, &key);
    for node in nodes {
        let (cert_path, node_key_path) = node_paths(node);
        if kept && cert_path.exists() && node_key_path.exists() {
            continue;
        }
        let mut params = CertificateParams::new(vec![PEER_NAME.to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, node.name.as_str());
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let node_key = KeyPair::generate()?;
        let certificate = params.signed_by(&node_key, &issuer)?;
        write_private(&node_key_path, &node_key.serialize_pem())?;
        std::fs::write(&cert_path, certificate.pem()).map_err(Failure::file(&cert_path))?;
    }
    Ok(())
}

/// The same every time: the kept key and these are all that signing needs.
fn authority_params() -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, "portolan dev");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn write_private(path: &Path, text: &str) -> Result<(), Failure> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(path).map_err(Failure::file(path))?;
    file.write_all(text.as_bytes()).map_err(Failure::file(path))
}
