//! The registry beside us: Debian's docker-registry on the file system.

use portolan_chaos_tests::{Result, wait};
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// A running docker-registry; dropping it kills it and removes its data.
pub(crate) struct DockerRegistry {
    process: Child,
    /// Where clients reach it, `host:port`.
    pub(crate) address: String,
    _folder: TempDir,
}

impl DockerRegistry {
    /// Starts one and waits until it answers.
    pub(crate) async fn start() -> Result<Self> {
        let folder = TempDir::with_prefix("portolan-bench-peer")?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let address = format!("127.0.0.1:{port}");
        let config = folder.path().join("config.yml");
        let root = folder.path().join("data");
        let text = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\nhttp: {{addr: {address}}}\n",
            root.display()
        );
        std::fs::write(&config, text)?;
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let url = format!("http://{address}/v2/");
        wait::until("docker-registry", Duration::from_secs(20), || async {
            reqwest::get(&url).await.map(|_| ()).map_err(|error| error.to_string())
        })
        .await?;
        Ok(Self { process, address, _folder: folder })
    }

    /// Its process.
    pub(crate) fn pid(&self) -> Result<i32> {
        Ok(i32::try_from(self.process.id().ok_or("docker-registry has ended")?)?)
    }
}
