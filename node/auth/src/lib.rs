//! Who may do what.
//!
//! A request is answered in three steps: [`Policy::identify`] says who asks, the router says which [`Action`] it is,
//! [`Policy::permit`] decides. Both types are closed, so that the registry, the admin API and an audit speak of the same
//! things and a new request does not compile until it is decided on. No IO: whoever calls brings the secrets.
//!
//! In reading order: [`action`], [`identity`], [`policy`].

pub mod action;
pub mod identity;
pub mod policy;

pub use action::{Access, Action, AdminResource};
pub use identity::{AdminToken, Identity};
pub use policy::{Config, Denied, Mode, Policy};
