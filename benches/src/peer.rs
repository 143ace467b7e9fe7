//! The servers beside us: Debian's docker-registry on the file system, and nginx with the same bytes as plain files.

use crate::process;
use portolan_chaos_tests::{Result, wait};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// A running server; dropping it kills it and removes its data.
pub struct Peer {
    process: Child,
    /// Where clients reach it, `host:port`.
    pub address: String,
    folder: TempDir,
}

impl Peer {
    /// Starts docker-registry with an empty folder, with the cache of descriptors that Debian's configuration has.
    ///
    /// # Errors
    /// When it is not installed or does not answer in time.
    pub async fn docker_registry() -> Result<Self> {
        let (folder, address) = place()?;
        let config = folder.path().join("config.yml");
        let root = folder.path().join("data");
        let text = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
             storage: {{cache: {{blobdescriptor: inmemory}}, filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\nhttp: {{addr: {address}}}\n",
            root.display()
        );
        fs::write(&config, text)?;
        let process = spawn(Command::new("docker-registry").arg("serve").arg(&config))?;
        Self { process, address, folder }.answering("/v2/").await
    }

    /// Starts nginx over an empty folder; see [`Peer::put`].
    ///
    /// # Errors
    /// When it is not installed or does not answer in time.
    pub async fn nginx() -> Result<Self> {
        let (folder, address) = place()?;
        let root = folder.path();
        fs::create_dir(root.join("data"))?;
        // Workers of an nginx that root starts run as another user.
        let open: fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(root, open)?;
        let root = root.display();
        let text = format!(
            "daemon off; worker_processes auto; pid {root}/pid; error_log {root}/error.log;\n\
             events {{ worker_connections 1024; }}\n\
             http {{ access_log off; sendfile on; client_body_temp_path {root}/body; proxy_temp_path {root}/proxy;\n\
             fastcgi_temp_path {root}/f; uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;\n\
             server {{ listen {address}; root {root}/data; }} }}\n"
        );
        let config = folder.path().join("nginx.conf");
        fs::write(&config, text)?;
        let process = spawn(Command::new("nginx").arg("-c").arg(&config))?;
        Self { process, address, folder }.answering("/").await
    }

    /// Lays a file under nginx's root.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put(&self, path: &str, chunks: &[bytes::Bytes]) -> Result<()> {
        let target = self.folder.path().join("data").join(path.trim_start_matches('/'));
        fs::create_dir_all(target.parent().unwrap_or(Path::new("/")))?;
        let mut file = fs::File::create(target)?;
        for chunk in chunks {
            std::io::Write::write_all(&mut file, chunk)?;
        }
        Ok(())
    }

    /// Its process.
    ///
    /// # Errors
    /// When it has ended.
    pub fn pid(&self) -> Result<i32> {
        Ok(i32::try_from(self.process.id().ok_or("the server beside us has ended")?)?)
    }

    async fn answering(self, path: &str) -> Result<Self> {
        let url = format!("http://{}{path}", self.address);
        wait::until("the server beside us", Duration::from_secs(20), || async {
            reqwest::get(&url).await.map(|_| ()).map_err(|error| error.to_string())
        })
        .await?;
        Ok(self)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let Some(pid) = self.process.id().and_then(|pid| i32::try_from(pid).ok()) else { return };
        // nginx's workers outlive a killed master, and a master replaces killed workers: it goes first.
        for pid in process::with_children(pid).into_iter().filter_map(Pid::from_raw) {
            // One that has ended by itself is what is wanted.
            let _ended = kill_process(pid, Signal::KILL);
        }
    }
}

fn place() -> Result<(TempDir, String)> {
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    Ok((TempDir::with_prefix("portolan-bench-peer")?, format!("127.0.0.1:{port}")))
}

fn spawn(command: &mut Command) -> Result<Child> {
    let name = format!("{:?}", command.as_std().get_program());
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.kill_on_drop(true).spawn().map_err(|error| format!("{name}: {error}").into())
}
