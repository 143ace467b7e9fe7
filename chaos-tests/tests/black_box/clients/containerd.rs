//! containerd, by its `ctr`: a `hosts.toml` lists the regions, the nearest first.

use super::daemon::Daemon;
use super::tap::{Stop, Tap};
use portolan_chaos_tests::cluster::{Cluster, Options};
use portolan_chaos_tests::image::{Blob, Image};
use portolan_chaos_tests::tool::{self, Home};
use portolan_chaos_tests::{Result, layout};
use std::path::PathBuf;

/// The name that images are pulled by; no such host is ever asked.
const HOST: &str = "registry.example";

/// What images need, and nothing that would look at the rest of the machine.
const CONFIG: &str = r#"
version = 2
root = "HOME/root"
state = "HOME/state"
disabled_plugins = [
    "io.containerd.grpc.v1.cri",
    "io.containerd.internal.v1.opt",
    "io.containerd.internal.v1.restart",
    "io.containerd.internal.v1.tracing",
    "io.containerd.runtime.v1.linux",
    "io.containerd.runtime.v2.task",
    "io.containerd.snapshotter.v1.aufs",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.overlayfs",
    "io.containerd.snapshotter.v1.zfs",
    "io.containerd.tracing.processor.v1.otlp",
]
[grpc]
address = "HOME/socket"
[ttrpc]
address = "HOME/ttrpc"
"#;

/// A daemon with an empty store.
struct Containerd {
    daemon: Daemon,
}

impl Containerd {
    async fn start() -> Result<Self> {
        let home = Home::new()?;
        let config = CONFIG.replace("HOME", &home.path().to_string_lossy());
        std::fs::write(home.path().join("config.toml"), config)?;
        let ready = ["ctr", "--address", "socket", "version"];
        Ok(Self { daemon: Daemon::start(home, "containerd", &["--config", "config.toml"], &ready).await? })
    }

    async fn ctr(&self, arguments: &[&str]) -> Result<String> {
        self.daemon.home().run("ctr", &[&["--address", "socket"], arguments].concat()).await
    }

    /// Says which addresses stand for [`HOST`], the nearest first. The last is what containerd calls the server.
    fn write_hosts(&self, addresses: &[&str]) -> Result<()> {
        let folder = self.daemon.home().path().join("hosts").join(HOST);
        std::fs::create_dir_all(&folder)?;
        let Some((server, mirrors)) = addresses.split_last() else { return Err("no addresses".into()) };
        let mirrors: String = mirrors
            .iter()
            .map(|address| format!("[host.\"http://{address}\"]\ncapabilities = [\"pull\", \"resolve\", \"push\"]\n"))
            .collect();
        std::fs::write(folder.join("hosts.toml"), format!("server = \"http://{server}\"\n{mirrors}"))?;
        Ok(())
    }

    /// Pulls and unpacks, one layer after the other.
    async fn pull(&self, name: &str) -> Result<String> {
        let name = format!("{HOST}/{name}");
        let how = ["--hosts-dir=hosts", "--snapshotter=native", "--max-concurrent-downloads=1"];
        self.ctr(&[&["images", "pull", "--platform=linux/amd64"], &how[..], &[&name]].concat()).await
    }

    /// Where the store keeps a blob that is complete.
    fn place(&self, blob: &Blob) -> PathBuf {
        let blobs = self.daemon.home().path().join("root/io.containerd.content.v1.content/blobs/sha256");
        blobs.join(blob.digest.hex())
    }

    fn assert_holds(&self, image: &Image) -> Result<()> {
        for blob in image.blobs().chain([&image.manifest]) {
            assert!(std::fs::read(self.place(blob))? == blob.bytes, "{}", blob.digest);
        }
        Ok(())
    }
}

/// Whether one of these requests reads a blob.
fn asks_for(heads: &[String], blob: &Blob) -> bool {
    heads.iter().any(|head| head.starts_with("GET ") && head.contains(&blob.digest.to_string()))
}

fn image(seed: u64) -> Image {
    Image::seeded(seed, &[1_500_000, 1_500_000, 1_500_000])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containerd_pushes_to_one_region_and_pulls_from_the_nearest_alone() -> Result<()> {
    const NAME: &str = "containerd_pushes_to_one_region_and_pulls_from_the_nearest_alone";
    if !tool::have("containerd", NAME) || !tool::have("ctr", NAME) || !tool::is_root(NAME) {
        return Ok(());
    }
    let mut cluster = Cluster::start(Options::patient()).await?;
    let (pusher, puller) = (Containerd::start().await?, Containerd::start().await?);
    let image = image(1);
    let home = pusher.daemon.home();
    layout::write_image(&home.path().join("layout"), &image, "v1")?;
    home.run("tar", &["-C", "layout", "-cf", "layout.tar", "."]).await?;
    let base = format!("--base-name={HOST}/team/app");
    pusher.ctr(&["images", "import", "--snapshotter=native", "--no-unpack", &base, "layout.tar"]).await?;
    pusher.write_hosts(&[&cluster.nodes()[0].registry, &cluster.nodes()[1].registry])?;
    pusher.ctr(&["images", "push", "--hosts-dir=hosts", &format!("{HOST}/team/app:v1")]).await?;
    cluster.registry(1).pull_and_compare("team/app", "v1", &image).await?;

    let mut taps = Vec::new();
    for node in [2, 1, 0] {
        taps.push(Tap::start(&cluster.nodes()[node].registry, None).await?);
    }
    let addresses: Vec<String> = taps.iter().map(Tap::address).collect();
    puller.write_hosts(&addresses.iter().map(String::as_str).collect::<Vec<_>>())?;
    puller.pull("team/app:v1").await?;
    puller.assert_holds(&image)?;
    assert!(image.blobs().all(|blob| asks_for(&taps[0].heads(), blob)), "{:?}", taps[0].heads());
    assert!(taps[1].heads().is_empty() && taps[2].heads().is_empty(), "somebody farther was asked");
    puller.daemon.stop().await?;
    pusher.daemon.stop().await?;
    cluster.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_ends_well_when_the_nearest_node_dies_in_the_middle_of_it() -> Result<()> {
    const NAME: &str = "a_pull_ends_well_when_the_nearest_node_dies_in_the_middle_of_it";
    const NEAREST: usize = 2;
    if !tool::have("containerd", NAME) || !tool::have("ctr", NAME) || !tool::is_root(NAME) {
        return Ok(());
    }
    let mut cluster = Cluster::start(Options::patient()).await?;
    // Between two layers, within one, and within the last.
    for (number, (layer, answer)) in [(1, 0), (1, 700_000), (2, 1_400_000)].into_iter().enumerate() {
        let image = image(100 + number as u64);
        let tag = format!("v{number}");
        cluster.registry(0).push("team/app", &tag, &image).await?;
        let containerd = Containerd::start().await?;
        let stop = Stop { request: format!("GET /v2/team/app/blobs/{}", image.layers[layer].digest), answer };
        let mut nearest = Tap::start(&cluster.nodes()[NEAREST].registry, Some(stop)).await?;
        let next = Tap::start(&cluster.nodes()[1].registry, None).await?;
        let last = Tap::start(&cluster.nodes()[0].registry, None).await?;
        containerd.write_hosts(&[&nearest.address(), &next.address(), &last.address()])?;

        let name = format!("team/app:{tag}");
        let death = async {
            nearest.stopped().await?;
            for (at, blob) in image.layers.iter().enumerate() {
                assert_eq!(containerd.place(blob).exists(), at < layer, "layer {at} before the death in layer {layer}");
            }
            cluster.kill(NEAREST).await?;
            nearest.close().await;
            Ok(())
        };
        tokio::try_join!(containerd.pull(&name), death)?;
        containerd.assert_holds(&image)?;
        assert!(!asks_for(&next.heads(), &image.layers[0]), "what had come was fetched again");
        assert!(asks_for(&next.heads(), &image.layers[layer]), "{:?}", next.heads());
        assert!(last.heads().is_empty(), "the farthest was asked: {:?}", last.heads());
        // The rest of a layer is asked for, not the whole.
        let resumed = next.heads().iter().any(|head| head.to_lowercase().contains("\nrange: bytes="));
        assert_eq!(resumed, answer > 0, "{:?}", next.heads());
        containerd.daemon.stop().await?;
        cluster.restart(NEAREST)?;
        cluster.wait_ready(NEAREST).await?;
    }
    cluster.stop().await?;
    Ok(())
}
