//! Podman.

use super::shared::{at, busybox, pull_whole};
use portolan_chaos_tests::Result;
use portolan_chaos_tests::cluster::{Cluster, Options};
use portolan_chaos_tests::tool::{self, Home};

/// Images in the home alone, with a driver that works on any file system.
const STORE: [&str; 8] = ["--root", "storage", "--runroot", "run", "--tmpdir", "tmp", "--storage-driver", "vfs"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn podman_pushes_in_one_region_and_pulls_in_another() -> Result<()> {
    const NAME: &str = "podman_pushes_in_one_region_and_pulls_in_another";
    if !tool::have("podman", NAME) || !tool::is_root(NAME) {
        return Ok(());
    }
    let mut cluster = Cluster::start(Options::patient()).await?;
    let home = Home::new()?;
    let podman = async |arguments: &[&str]| home.run("podman", &[&STORE, arguments].concat()).await;
    std::fs::write(home.path().join("root.tar"), &busybox("amd64").await?.layers[0].bytes)?;
    podman(&["import", "root.tar", "app:v1"]).await?;
    let (near, far) = (at(&cluster, 0, "team/podman:v1"), at(&cluster, 2, "team/podman:v1"));
    podman(&["push", "--tls-verify=false", "--digestfile", "digest", "app:v1", &near]).await?;
    let pushed = std::fs::read_to_string(home.path().join("digest"))?;
    assert_eq!(pull_whole(&cluster, 1, "team/podman", "v1").await?, pushed.trim());

    // Nothing of it is left here, so that every byte comes from the other node.
    let id = podman(&["inspect", "--format", "{{.Id}}", "app:v1"]).await?;
    podman(&["rmi", "--all", "--force"]).await?;
    assert_eq!(podman(&["images", "--quiet"]).await?, "");
    let pulled = podman(&["pull", "--quiet", "--tls-verify=false", &far]).await?;
    assert_eq!(pulled.trim(), id.trim());
    let digest = podman(&["inspect", "--format", "{{.Digest}}", &far]).await?;
    assert_eq!(digest.trim(), pushed.trim());
    cluster.stop().await?;
    Ok(())
}
