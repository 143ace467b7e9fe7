//! The wire between nodes: protobuf messages and gRPC stubs
