//! Use cases of the registry, without HTTP: pull, push, upload, list, delete
