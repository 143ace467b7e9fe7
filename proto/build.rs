//! Compiles the `.proto` files in Rust alone, so that nobody has to install `protoc`.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let files =
        ["portolan/v1/raft.proto", "portolan/v1/cluster.proto", "portolan/v1/blobs.proto", "portolan/v1/uploads.proto"];
    for file in files {
        println!("cargo:rerun-if-changed={file}");
    }
    let descriptors = protox::compile(files, ["."])?;
    // `bytes::Bytes` for payloads: decoding then slices the buffer of the connection instead of copying.
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    Ok(())
}
