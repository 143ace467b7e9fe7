//! Real clients push in one region and pull in another.

use portolan_chaos_tests::cluster::{Cluster, Options};
use portolan_chaos_tests::image::{self, Image};
use portolan_chaos_tests::{Result, layout, tool, wait};
use portolan_oci::Digest;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::process::{Child, Command};

const SOON: Duration = Duration::from_secs(60);
const LONG: Duration = Duration::from_secs(300);
/// What debootstrap may take: it downloads some hundred packages and unpacks them on two cores.
const DEBOOTSTRAP: Duration = Duration::from_secs(900);

/// A layer of the files below a folder, made by the system's tar.
async fn layer_of(root: &Path, arguments: &[&str]) -> Result<Vec<u8>> {
    let file = tempfile::NamedTempFile::new()?;
    let (root, archive) = (root.to_string_lossy(), file.path().to_string_lossy().into_owned());
    let mut command = vec!["-C", &root, "--sort=name", "--numeric-owner", "--mtime=@0", "-cf", &archive];
    command.extend(arguments);
    tool::run(LONG, "tar", &command).await?;
    Ok(std::fs::read(file.path())?)
}

/// A root file system that holds busybox and nothing else.
async fn busybox(architecture: &str) -> Result<Image> {
    let root = TempDir::new()?;
    let bin = root.path().join("bin");
    std::fs::create_dir(&bin)?;
    std::fs::copy("/bin/busybox", bin.join("busybox"))?;
    for applet in ["sh", "echo", "cat", "ls"] {
        std::os::unix::fs::symlink("busybox", bin.join(applet))?;
    }
    Ok(Image::of_layers(&[layer_of(root.path(), &["."]).await?], architecture))
}

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

/// `docker://host:port/repo:tag` of a node.
fn reference(cluster: &Cluster, node: usize, name: &str) -> String {
    format!("docker://{}/{name}", cluster.nodes()[node].registry)
}

async fn skopeo(within: Duration, arguments: &[&str]) -> Result<String> {
    tool::run(within, "skopeo", arguments).await
}

async fn skopeo_push(cluster: &Cluster, node: usize, source: &Path, name: &str) -> Result<()> {
    let source = format!("oci:{}", source.display());
    let target = reference(cluster, node, name);
    skopeo(LONG, &["copy", "--all", "--dest-tls-verify=false", &source, &target]).await?;
    Ok(())
}

/// Copies an image out of a node into a folder and compares manifest and blobs, byte by byte.
async fn skopeo_pull_and_compare(cluster: &Cluster, node: usize, name: &str, image: &Image) -> Result<()> {
    let folder = TempDir::new()?;
    let target = format!("dir:{}", folder.path().display());
    skopeo(LONG, &["copy", "--src-tls-verify=false", &reference(cluster, node, name), &target]).await?;
    let manifest = Digest::sha256_of(&std::fs::read(folder.path().join("manifest.json"))?);
    assert_eq!(manifest, image.manifest.digest, "manifest of {name}");
    for blob in image.blobs() {
        let bytes = std::fs::read(folder.path().join(blob.digest.hex()))?;
        assert!(bytes == blob.bytes, "blob {} of {name}", blob.digest);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn skopeo_copies_lists_inspects_and_deletes_across_regions() -> Result<()> {
    if !tool::have("skopeo", "skopeo_copies_lists_inspects_and_deletes_across_regions") {
        return Ok(());
    }
    let mut cluster = Cluster::start(Options::default()).await?;
    let folder = TempDir::new()?;
    let image = busybox("amd64").await?;
    layout::write_image(&folder.path().join("one"), &image, "v1")?;
    let one = folder.path().join("one:v1");
    skopeo_push(&cluster, 0, &one, "lib/busybox:v1").await?;
    skopeo_pull_and_compare(&cluster, 2, "lib/busybox:v1", &image).await?;

    let inspected = skopeo(SOON, &["inspect", "--tls-verify=false", &reference(&cluster, 1, "lib/busybox:v1")]).await?;
    assert!(inspected.contains(&image.manifest.digest.to_string()), "{inspected}");
    let far = reference(&cluster, 2, "lib/busybox");
    let tags = skopeo(SOON, &["list-tags", "--tls-verify=false", &far]).await?;
    assert!(tags.contains("v1"), "{tags}");

    // Registry to registry, from one region into a repository in another: blobs are mounted, not sent again.
    let (from, to) = (reference(&cluster, 1, "lib/busybox:v1"), reference(&cluster, 2, "copied/busybox:v1"));
    skopeo(SOON, &["copy", "--src-tls-verify=false", "--dest-tls-verify=false", &from, &to]).await?;
    skopeo_pull_and_compare(&cluster, 0, "copied/busybox:v1", &image).await?;

    skopeo(SOON, &["delete", "--tls-verify=false", &reference(&cluster, 1, "lib/busybox:v1")]).await?;
    for node in 0..3 {
        let gone = skopeo(SOON, &["inspect", "--tls-verify=false", &reference(&cluster, node, "lib/busybox:v1")]).await;
        assert!(gone.is_err(), "deleted, but node {node} shows it");
    }
    skopeo_pull_and_compare(&cluster, 2, "copied/busybox:v1", &image).await?;
    cluster.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_of_two_platforms_arrives_whole() -> Result<()> {
    if !tool::have("skopeo", "an_index_of_two_platforms_arrives_whole") {
        return Ok(());
    }
    let mut cluster = Cluster::start(Options::default()).await?;
    let folder = TempDir::new()?;
    let images = [(busybox("amd64").await?, "amd64"), (Image::seeded(64, &[50_000]), "arm64")];
    let index = layout::write_index(&folder.path().join("multi"), &images, "v1")?;
    skopeo_push(&cluster, 0, &folder.path().join("multi:v1"), "lib/multi:v1").await?;
    let registry = cluster.registry(2);
    assert_eq!(registry.manifest("lib/multi", "v1").await?.digest, index.digest.to_string());
    for (image, architecture) in &images {
        let digest = image.manifest.digest.to_string();
        assert_eq!(registry.manifest("lib/multi", &digest).await?.bytes, image.manifest.bytes, "{architecture}");
        for blob in image.blobs() {
            registry.blob("lib/multi", &blob.digest.to_string()).await?;
        }
    }
    let target = format!("oci:{}:v1", folder.path().join("back").display());
    skopeo(SOON, &["copy", "--all", "--src-tls-verify=false", &reference(&cluster, 1, "lib/multi:v1"), &target])
        .await?;
    let back = std::fs::read_to_string(folder.path().join("back/index.json"))?;
    assert!(back.contains(&index.digest.to_string()) && back.contains(image::INDEX), "{back}");
    cluster.stop().await?;
    Ok(())
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
    let mut cluster = Cluster::start(Options::default()).await?;
    let folder = TempDir::new()?;
    layout::write_image(&folder.path().join("debian"), &image, "v1")?;
    // The client talks to node 0; another, the leader if it is another, dies while the layers go up.
    let leader = cluster.leader().await?;
    let victim = if leader == 0 { 1 } else { leader };
    let spare = 3 - victim;
    let source = format!("oci:{}", folder.path().join("debian:v1").display());
    let target = reference(&cluster, 0, "lib/debian:v1");
    let push = tokio::spawn(async move {
        skopeo(LONG, &["copy", "--dest-tls-verify=false", &source, &target]).await.map_err(|error| error.to_string())
    });
    let uploads = cluster.nodes()[0].data.clone();
    wait::until("an upload to be under way", SOON, || async {
        let folder = uploads.to_string_lossy();
        let found = tool::run(SOON, "find", &[&folder, "-path", "*/uploads/*", "-size", "+100k"]).await;
        if found.is_ok_and(|files| !files.is_empty()) { Ok(()) } else { Err("no upload".to_owned()) }
    })
    .await?;
    cluster.kill(victim).await?;
    push.await??;
    skopeo_pull_and_compare(&cluster, spare, "lib/debian:v1", &image).await?;
    layout::write_image(&folder.path().join("small"), &busybox("amd64").await?, "v2")?;
    cluster.wait_writable(0).await?;
    skopeo_push(&cluster, 0, &folder.path().join("small:v2"), "lib/debian:v2").await?;
    cluster.restart(victim)?;
    cluster.wait_ready(victim).await?;
    skopeo_pull_and_compare(&cluster, victim, "lib/debian:v1", &image).await?;
    skopeo_pull_and_compare(&cluster, victim, "lib/debian:v2", &busybox("amd64").await?).await?;
    cluster.stop().await?;
    Ok(())
}

/// A Docker engine of our own, apart from any other on the machine.
struct Docker {
    daemon: Child,
    folder: TempDir,
}

impl Docker {
    async fn start() -> Result<Self> {
        let folder = TempDir::with_prefix("portolan-docker")?;
        let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        let log = std::fs::File::create(folder.path().join("dockerd.log"))?;
        let daemon = Command::new("dockerd")
            .args(["--bridge=none", "--iptables=false", "--data-root", &path("data"), "--exec-root", &path("exec")])
            .args(["--pidfile", &path("pid"), "--host", &format!("unix://{}", path("socket"))])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        let docker = Self { daemon, folder };
        let started = wait::until("dockerd", SOON, || async {
            docker.run(&["version"]).await.map(|_| ()).map_err(|error| error.to_string())
        })
        .await;
        if let Err(error) = started {
            let log = std::fs::read_to_string(docker.folder.path().join("dockerd.log")).unwrap_or_default();
            return Err(format!("{error}\n{log}").into());
        }
        Ok(docker)
    }

    async fn run(&self, arguments: &[&str]) -> Result<String> {
        let host = format!("unix://{}", self.folder.path().join("socket").display());
        let mut all = vec!["--host", &host];
        all.extend(arguments);
        tool::run(LONG, "docker", &all).await
    }

    /// What `docker pull` and `docker push` print as `digest: sha256:…`.
    async fn digest_of(&self, arguments: &[&str]) -> Result<String> {
        let output = self.run(arguments).await?.to_lowercase();
        let found = output.split_whitespace().find(|word| word.starts_with("sha256:") && word.len() == 71);
        Ok(found.ok_or_else(|| format!("no digest in {output}"))?.to_owned())
    }

    async fn stop(mut self) -> Result<()> {
        if let Some(pid) = self.daemon.id().and_then(|pid| rustix::process::Pid::from_raw(i32::try_from(pid).ok()?)) {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        }
        tokio::time::timeout(SOON, self.daemon.wait()).await??;
        Ok(())
    }
}

/// `localhost:5001/name`: the engine takes plain HTTP from localhost without being told.
fn docker_name(cluster: &Cluster, node: usize, name: &str) -> Result<String> {
    let address = &cluster.nodes()[node].registry;
    let port = address.rsplit(':').next().ok_or("an address without a port")?;
    Ok(format!("localhost:{port}/{name}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn docker_pushes_in_one_region_and_pulls_in_the_others() -> Result<()> {
    const NAME: &str = "docker_pushes_in_one_region_and_pulls_in_the_others";
    if !tool::have("dockerd", NAME) || !tool::is_root(NAME) {
        return Ok(());
    }
    let mut cluster = Cluster::start(Options::default()).await?;
    let docker = Docker::start().await?;
    let archive = tempfile::Builder::new().suffix(".tar").tempfile()?;
    std::fs::write(archive.path(), &busybox("amd64").await?.layers[0].bytes)?;
    let near = docker_name(&cluster, 0, "team/app:v1")?;
    docker.run(&["import", &archive.path().to_string_lossy(), &near]).await?;
    let pushed = docker.digest_of(&["push", &near]).await?;
    for node in [1, 2] {
        let far = docker_name(&cluster, node, "team/app:v1")?;
        assert_eq!(docker.digest_of(&["pull", &far]).await?, pushed, "at node {node}");
    }

    // The region it was pushed in dies; another takes the next push and the last serves it.
    cluster.kill(0).await?;
    let (second, last) = (docker_name(&cluster, 1, "team/app:v2")?, docker_name(&cluster, 2, "team/app:v2")?);
    cluster.wait_writable(1).await?;
    docker.run(&["import", "--change", "CMD [\"/bin/sh\"]", &archive.path().to_string_lossy(), &second]).await?;
    let pushed = docker.digest_of(&["push", &second]).await?;
    docker.run(&["rmi", "--force", &second]).await?;
    assert_eq!(docker.digest_of(&["pull", &last]).await?, pushed);
    cluster.restart(0)?;
    cluster.wait_ready(0).await?;
    let first = docker_name(&cluster, 0, "team/app:v2")?;
    assert_eq!(docker.digest_of(&["pull", &first]).await?, pushed);
    docker.stop().await?;
    cluster.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn podman_pushes_in_one_region_and_pulls_in_another() -> Result<()> {
    const NAME: &str = "podman_pushes_in_one_region_and_pulls_in_another";
    if !tool::have("podman", NAME) || !tool::is_root(NAME) {
        return Ok(());
    }
    let mut cluster = Cluster::start(Options::default()).await?;
    let folder = TempDir::new()?;
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (storage, runtime) = (path("storage"), path("run"));
    let base = ["--root", &storage, "--runroot", &runtime, "--storage-driver", "vfs"];
    let podman = |arguments: &[&str]| {
        let all: Vec<String> = base.iter().chain(arguments).map(|word| (*word).to_owned()).collect();
        async move { tool::run(LONG, "podman", &all.iter().map(String::as_str).collect::<Vec<_>>()).await }
    };
    std::fs::write(folder.path().join("root.tar"), &busybox("amd64").await?.layers[0].bytes)?;
    podman(&["import", &path("root.tar"), "app:v1"]).await?;
    let (near, far) = (reference(&cluster, 0, "team/podman:v1"), reference(&cluster, 2, "team/podman:v1"));
    podman(&["push", "--tls-verify=false", "app:v1", &near]).await?;
    let id = podman(&["inspect", "--format", "{{.Id}}", "app:v1"]).await?;
    let pulled = podman(&["pull", "--quiet", "--tls-verify=false", &far]).await?;
    assert_eq!(pulled.trim(), id.trim());
    cluster.stop().await?;
    Ok(())
}
