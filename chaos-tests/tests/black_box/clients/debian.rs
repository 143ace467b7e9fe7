//! A whole Debian system travels through skopeo while a node dies.

use super::shared::{busybox, layer_of};
use super::skopeo::{pull_and_compare, reference};
use portolan_chaos_tests::cluster::{Cluster, Options};
use portolan_chaos_tests::image::Image;
use portolan_chaos_tests::tool::{self, Home};
use portolan_chaos_tests::{Result, layout, wait};
use std::path::{Path, PathBuf};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);
/// What debootstrap may take: it downloads some hundred packages and unpacks them on two cores.
const DEBOOTSTRAP: Duration = Duration::from_secs(900);

/// Where debootstrap's result is kept for the next run: beside the build output, else in a folder for temporary files.
fn debian_root() -> PathBuf {
    let test = std::env::current_exe().unwrap_or_default();
    let beside = test.ancestors().nth(2).filter(|folder| folder.is_dir()).map(Path::to_owned);
    beside.unwrap_or_else(std::env::temp_dir).join("portolan-debian-rootfs")
}

/// A Debian system in three layers, some hundred MB.
async fn debian() -> Result<Image> {
    let root = debian_root();
    if !root.join("debootstrap-done").exists() {
        let _ = std::fs::remove_dir_all(&root);
        let target = root.to_string_lossy().into_owned();
        let arguments = ["--variant=minbase", "--include=python3,git,perl", "bookworm", target.as_str()];
        tool::run(DEBOOTSTRAP, "debootstrap", &arguments).await?;
        std::fs::write(root.join("debootstrap-done"), "")?;
    }
    let layers = [
        layer_of(&root, &["--exclude=./usr/share", "--exclude=./usr/lib", "--exclude=./dev", "."]).await?,
        layer_of(&root, &["./usr/lib"]).await?,
        layer_of(&root, &["./usr/share"]).await?,
    ];
    Ok(Image::of_layers(&layers, "amd64"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_debian_image_travels_while_a_node_is_killed_and_restarted() -> Result<()> {
    const NAME: &str = "a_debian_image_travels_while_a_node_is_killed_and_restarted";
    if !tool::have("skopeo", NAME) || !tool::have("debootstrap", NAME) || !tool::is_root(NAME) {
        return Ok(());
    }
    let image = debian().await?;
    let total: usize = image.blobs().map(|blob| blob.bytes.len()).sum();
    eprintln!("a Debian image of {} MB in {} layers", total / 1_000_000, image.layers.len());
    let mut cluster = Cluster::start(Options::patient()).await?;
    let home = Home::new()?;
    layout::write_image(&home.path().join("debian"), &image, "v1")?;
    // The client talks to node 0; another, the leader if it is another, dies while the layers go up.
    let leader = cluster.leader().await?;
    let victim = if leader == 0 { 1 } else { leader };
    let spare = 3 - victim;
    let target = reference(&cluster, 0, "lib/debian:v1");
    let push = ["copy", "--dest-tls-verify=false", "oci:debian:v1", &target];
    let uploads = cluster.nodes()[0].data.clone();
    let death = async {
        wait::until("an upload to be under way", SOON, || async {
            let folder = uploads.to_string_lossy();
            let found = tool::run(SOON, "find", &[&folder, "-path", "*/uploads/*", "-size", "+100k"]).await;
            if found.is_ok_and(|files| !files.is_empty()) { Ok(()) } else { Err("no upload".to_owned()) }
        })
        .await?;
        cluster.kill(victim).await
    };
    tokio::try_join!(home.run("skopeo", &push), death)?;
    pull_and_compare(&cluster, spare, "lib/debian:v1", &image).await?;
    let small = busybox("amd64").await?;
    layout::write_image(&home.path().join("small"), &small, "v2")?;
    cluster.wait_writable(0).await?;
    let target = reference(&cluster, 0, "lib/debian:v2");
    home.run("skopeo", &["copy", "--dest-tls-verify=false", "oci:small:v2", &target]).await?;
    cluster.restart(victim)?;
    cluster.wait_ready(victim).await?;
    pull_and_compare(&cluster, victim, "lib/debian:v1", &image).await?;
    pull_and_compare(&cluster, victim, "lib/debian:v2", &small).await?;
    cluster.stop().await?;
    Ok(())
}
