//! The one place that decides.

use crate::action::{Access, Action};
use crate::identity::{AdminToken, Identity};
use portolan_oci::ErrorCode;
use serde::{Deserialize, Serialize};

/// How access is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Everybody may read, write and delete content; only the admin token may change the cluster.
    Open,
}

/// The `[auth]` table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How access is decided. It has no default on purpose: without it the node listens on loopback only, and is open
    /// there.
    pub mode: Option<Mode>,
}

impl Config {
    /// Whether somebody wrote down who may come in; without that, nobody from outside does.
    #[must_use]
    pub const fn is_explicit(&self) -> bool {
        self.mode.is_some()
    }
}

/// Why an action was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The caller is nobody we know: credentials may help.
    #[error("this needs the node's admin token")]
    NeedsAdminToken,
}

impl Denied {
    /// The OCI code that tells a client of it.
    #[must_use]
    pub const fn code(self) -> ErrorCode {
        match self {
            Self::NeedsAdminToken => ErrorCode::Unauthorized,
        }
    }
}

/// Decides.
#[derive(Clone, Debug)]
pub struct Policy {
    mode: Mode,
    admin: Option<AdminToken>,
}

impl Policy {
    /// From the node's configuration and its admin token. Without a token nobody is the admin.
    #[must_use]
    pub fn new(config: &Config, admin: Option<AdminToken>) -> Self {
        Self { mode: config.mode.unwrap_or(Mode::Open), admin }
    }

    /// Who sends that `Authorization` header. Credentials that say nothing here are nobody's, not an error: clients
    /// send along whatever they were once given for this host.
    #[must_use]
    pub fn identify(&self, authorization: Option<&str>) -> Identity {
        let bearer = authorization
            .and_then(|header| header.split_once(' '))
            .and_then(|(scheme, token)| scheme.eq_ignore_ascii_case("bearer").then_some(token));
        match (&self.admin, bearer) {
            (Some(admin), Some(token)) if admin.matches(token) => Identity::Admin,
            _ => Identity::Anonymous,
        }
    }

    /// Whether they may.
    ///
    /// # Errors
    /// [`Denied`], with what would help.
    pub const fn permit(&self, identity: &Identity, action: &Action) -> Result<(), Denied> {
        match (self.mode, action.access(), identity) {
            (Mode::Open, Access::Read | Access::Write | Access::Delete, Identity::Anonymous | Identity::Admin)
            | (Mode::Open, Access::Administer, Identity::Admin) => Ok(()),
            (Mode::Open, Access::Administer, Identity::Anonymous) => Err(Denied::NeedsAdminToken),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::{Config, Denied, Mode, Policy};
    use crate::action::{Access, Action, AdminResource};
    use crate::identity::{AdminToken, Identity};
    use portolan_oci::{Digest, RepoName};

    fn policy() -> Policy {
        Policy::new(&Config { mode: Some(Mode::Open) }, AdminToken::new("s3cret\n"))
    }

    #[test]
    fn only_the_admin_token_makes_an_admin() {
        let cases = [
            (None, Identity::Anonymous),
            (Some("Bearer s3cret"), Identity::Admin),
            (Some("bearer s3cret"), Identity::Admin),
            (Some("Bearer  s3cret "), Identity::Admin),
            (Some("Bearer s3cre"), Identity::Anonymous),
            (Some("Bearer s3cretx"), Identity::Anonymous),
            (Some("Bearer "), Identity::Anonymous),
            (Some("Bearer"), Identity::Anonymous),
            (Some("Basic s3cret"), Identity::Anonymous),
            (Some("s3cret"), Identity::Anonymous),
        ];
        for (header, want) in cases {
            assert_eq!(policy().identify(header), want, "{header:?}");
        }
    }

    #[test]
    fn without_a_token_nobody_is_the_admin() {
        for token in ["", " \n"] {
            let policy = Policy::new(&Config::default(), AdminToken::new(token));
            assert_eq!(policy.identify(Some("Bearer ")), Identity::Anonymous);
        }
    }

    #[test]
    fn the_open_mode_leaves_only_changes_of_the_cluster_to_the_admin() {
        let (repo, digest): (RepoName, _) = ("a".parse().unwrap(), Digest::sha256_of(b""));
        let mount = Action::MountBlob { repo: repo.clone(), from: Some("b".parse().unwrap()), digest };
        assert_eq!(mount.reads_from().map(RepoName::as_str), Some("b"));
        let cases = [
            (Action::Base, Access::Read),
            (Action::ListTags { repo: repo.clone() }, Access::Read),
            (Action::StartUpload { repo: repo.clone() }, Access::Write),
            (mount, Access::Write),
            (Action::DeleteBlob { repo, digest }, Access::Delete),
            (Action::ReadAdmin { resource: AdminResource::Cluster }, Access::Read),
            (Action::ReadAdmin { resource: AdminResource::Wait }, Access::Read),
            (Action::ChangeAdmin { resource: AdminResource::Repos }, Access::Administer),
            (Action::ChangeAdmin { resource: AdminResource::Cluster }, Access::Administer),
        ];
        for (action, access) in cases {
            assert_eq!(action.access(), access, "{}", action.name());
            let want = if access == Access::Administer { Err(Denied::NeedsAdminToken) } else { Ok(()) };
            assert_eq!(policy().permit(&Identity::Anonymous, &action), want, "{}", action.name());
            assert_eq!(policy().permit(&Identity::Admin, &action), Ok(()), "{}", action.name());
        }
    }

    #[test]
    fn every_resource_is_found_by_its_path_and_changed_by_the_admin_alone() {
        for resource in AdminResource::ALL {
            assert_eq!(AdminResource::by_path(resource.path()), Some(resource));
            let (read, change) = (Action::ReadAdmin { resource }, Action::ChangeAdmin { resource });
            assert_eq!(policy().permit(&Identity::Anonymous, &read), Ok(()), "{}", resource.path());
            assert_eq!(policy().permit(&Identity::Anonymous, &change), Err(Denied::NeedsAdminToken));
            assert_eq!(policy().permit(&Identity::Admin, &change), Ok(()));
        }
        assert_eq!(AdminResource::by_path("repos/team"), None);
    }

    #[test]
    fn the_mode_must_be_written_to_count_as_explicit() {
        assert!(!Config::default().is_explicit());
        assert!(Config { mode: Some(Mode::Open) }.is_explicit());
    }

    #[test]
    fn a_token_is_never_printed() {
        assert!(!format!("{:?}", policy()).contains("s3cret"));
    }
}
