//! The only home of axum: the registry API, the admin API, health
